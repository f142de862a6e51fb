"""Which inactive weights a dynamic sparse step brings in, as many in each layer as it removed there."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]  # gradient, free, count, generator -> grown places


def gradient(gradient: Tensor, free: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The `count` free places of largest |gradient| (Evci et al. 2020, RigL, equation 2)."""
    return _largest(gradient.abs(), free, count)


def random(gradient: Tensor, free: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` free places, uniformly (Mocanu et al. 2018, SET)."""
    return _largest(torch.rand(free.shape, generator=generator).to(free.device), free, count)


def _largest(value: Tensor, free: Tensor, count: int) -> Tensor:
    order = torch.where(free, value, -torch.inf).flatten().argsort(descending=True, stable=True)
    grown = torch.zeros(free.numel(), dtype=torch.bool, device=free.device)
    grown[order[:count]] = True
    return grown.view(free.shape)


RULES: dict[str, Rule] = {"gradient": gradient, "random": random}


def grow(
    rule: Rule,
    gradients: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    dropped: Mapping[str, Tensor],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """New masks: kept weights plus as many grown ones as were dropped, never at a place just dropped.

    A prune rule drops at most as many weights of a layer as it has free places.
    """
    return {
        name: mask & ~dropped[name] | rule(gradients[name], ~mask, int(dropped[name].sum()), generator)
        for name, mask in masks.items()
    }
