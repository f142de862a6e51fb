"""Channel sparsity: whole channels masked together, so that they can be removed from the model that ships."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.sparsity.coupled import Group, coupled_channels
from safedeploy.sparsity.masks import Masks, prunable

Importance = Callable[[Mapping[str, Tensor], Group], Tensor]  # parameters by name, group -> (channels,) score

FLOOR = 0.125  # of a group's channels: below, a layer is a bottleneck that fine-tuning does not repair


def magnitude(parameters: Mapping[str, Tensor], group: Group) -> Tensor:
    """The Euclidean norm of everything that goes with a channel (Fang et al. 2023, DepGraph, section 3.3)."""
    total = torch.zeros(group.channels, dtype=torch.float64)
    for slot in group.slots:
        if slot.name in parameters:
            value = parameters[slot.name].detach().cpu().double().movedim(slot.dim, 0)
            along = value.reshape(len(value), -1).square().sum(dim=1)
            total += along[slot.places].sum(dim=1)
    return total.sqrt()


def channel_masks(
    module: nn.Module, input_shape: Sequence[int], density: float, importance: Importance = magnitude
) -> Masks:
    """Masks that leave the share `density` of the prunable weights, or as much less as whole channels make it.

    A mask for every parameter that channels are removed from: weights, biases, scales and shifts of batch norms; a
    batch norm's statistics need none, what it answers for a channel without scale and shift is zero. All channels are
    ranked at once, by their importance in units of their group's mean; each group keeps FLOOR of its channels, in
    whole steps of `step`. Raises UserError where the module has no removable channels or too few for the density.
    """
    groups = coupled_channels(module, input_shape)
    if not groups:
        raise UserError("--structure channel: this model has no channels that can be removed; use irregular")
    parameters = dict(module.named_parameters())
    ranks = [_ranks(importance(parameters, group)) for group in groups]
    kept = _budgeted(module, groups, ranks, density)
    masks: Masks = {}
    for group, (order, _), count in zip(groups, ranks, kept, strict=True):
        gone = order[: group.channels - count]
        for slot in group.slots:
            if slot.name in parameters:
                weight = parameters[slot.name]
                mask = masks.setdefault(slot.name, torch.ones_like(weight, dtype=torch.bool))
                mask.index_fill_(slot.dim, slot.places[gone].flatten().to(weight.device), False)
    return masks


def step(channels: int) -> int:
    """What a group's kept channels are a multiple of: fewer in between cost as much or more (docs/fast.md)."""
    return 16 if channels >= 32 else 8 if channels >= 16 else 4


def _ranks(score: Tensor) -> tuple[Tensor, list[float]]:
    """Channels from the least important, ties by position, and their scores in units of the mean, rising."""
    order = score.argsort(stable=True)
    return order, (score[order] / score.mean().clamp_min(1e-30)).tolist()


def _budgeted(
    module: nn.Module, groups: Sequence[Group], ranks: Sequence[tuple[Tensor, list[float]]], density: float
) -> list[int]:
    """Channels kept by group: those above one score for all groups, the lowest that leaves no more than the density.

    What whole steps leave of the budget is given back, to the group with the highest score below, while it lasts.
    """
    sizes = {name: weight.shape for name, weight in prunable(module).items()}
    everything = sum(shape.numel() for shape in sizes.values())
    scores = sorted({score for _, rising in ranks for score in rising})

    def kept(cut: float) -> list[int]:
        return [
            _kept(group.channels, bisect_left(rising, cut)) for group, (_, rising) in zip(groups, ranks, strict=True)
        ]

    def share(counts: Sequence[int]) -> float:
        return _left(sizes, groups, counts) / everything

    cuts = [*scores, math.inf]
    number = bisect_left(cuts, True, key=lambda cut: share(kept(cut)) <= density)
    if number == len(cuts):
        least = math.ceil(1e4 * share(kept(math.inf))) / 1e4
        raise UserError(
            f"density {density:g} with whole channels: this model keeps at least {least:g} of its weights;"
            " choose that or more, or --structure irregular"
        )
    counts = kept(cuts[number])
    waiting = [number for number, group in enumerate(groups) if counts[number] < group.channels]
    while waiting:
        best = max(waiting, key=lambda number: ranks[number][1][groups[number].channels - counts[number] - 1])
        more = [*counts]
        more[best] = min(groups[best].channels, counts[best] + step(groups[best].channels))
        if share(more) <= density:
            counts = more
        if counts is not more or more[best] == groups[best].channels:
            waiting.remove(best)
    return counts


def _kept(channels: int, gone: int) -> int:
    """So many of a group's channels stay when `gone` of them score too low."""
    whole = step(channels)
    least = max(1, math.ceil(FLOOR * channels), channels - gone)
    return min(channels, math.ceil(least / whole) * whole)


def _left(sizes: Mapping[str, torch.Size], groups: Sequence[Group], kept: Sequence[int]) -> int:
    """Prunable weights left when each group keeps so many channels."""
    extents = {name: list(shape) for name, shape in sizes.items()}
    for group, count in zip(groups, kept, strict=True):
        for slot in group.slots:
            if slot.name in extents:
                extents[slot.name][slot.dim] -= (group.channels - count) * slot.places.shape[1]
    return sum(math.prod(extent) for extent in extents.values())
