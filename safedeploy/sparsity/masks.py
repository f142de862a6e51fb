"""Masks over the weights of a module: which are prunable, how many are kept, and keeping the rest at zero."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from safedeploy.results import LayerDensity

Masks = dict[str, Tensor]  # parameter name -> bool, True where the weight is kept

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def prunable(module: nn.Module) -> dict[str, Tensor]:
    """Weights of the linear, convolution and embedding layers, by parameter name; biases and norms stay dense."""
    return {
        f"{name}.weight" if name else "weight": layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, PRUNABLE)
    }


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in prunable(module).items()}


def random_masks(module: nn.Module, counts: Mapping[str, int], generator: torch.Generator) -> Masks:
    """Exactly `counts[name]` kept weights in each layer, at random places."""
    masks = {}
    for name, weight in prunable(module).items():
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[torch.randperm(weight.numel(), generator=generator)[: counts[name]]] = True
        masks[name] = mask.view(weight.shape).to(weight.device)
    return masks


def largest_masks(module: nn.Module, counts: Mapping[str, int]) -> Masks:
    """The `counts[name]` weights of largest magnitude in each layer; ties by position."""
    masks = {}
    for name, weight in prunable(module).items():
        order = weight.detach().abs().flatten().argsort(descending=True, stable=True)
        mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
        mask[order[: counts[name]]] = True
        masks[name] = mask.view(weight.shape)
    return masks


@torch.no_grad()
def rescale(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Divide each fresh layer by √density: its outputs keep the variance that the dense initialisation gave them
    (Evci et al. 2022, 'Gradient flow in sparse neural networks', equation 3, in the mean over units)."""
    for name, mask in masks.items():
        weights[name].div_((mask.sum() / mask.numel()).sqrt())


def layer_densities(module: nn.Module) -> list[LayerDensity]:
    """Counted from the weights themselves, so the figure holds for what is exported."""
    rows = []
    for name, weight in prunable(module).items():
        kept = int(torch.count_nonzero(weight.detach()))
        rows.append(LayerDensity(name=name, shape=list(weight.shape), kept=kept, density=kept / weight.numel()))
    return rows


def total_density(layers: list[LayerDensity]) -> float:
    sizes = [torch.Size(layer.shape).numel() for layer in layers]
    return sum(layer.kept for layer in layers) / sum(sizes)
