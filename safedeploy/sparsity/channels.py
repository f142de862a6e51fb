"""How many channels each coupled group keeps: whole steps of them, ranked over the network by a score."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from torch import Tensor

from safedeploy.errors import UserError
from safedeploy.sparsity.coupled import Group

FLOOR = 0.125  # of a group's channels: below, a layer is a bottleneck that fine-tuning does not repair

Shape = tuple[int, ...]


def channel_sizes(
    prunable: Mapping[str, Shape], groups: Mapping[str, Group], scores: Mapping[str, Tensor], density: float
) -> dict[str, int]:
    """Channels kept by group, so that the share `density` of the prunable weights is left, or as much less as whole
    steps make it.

    scores: (channels,) of each group. All channels are ranked at once, by their score in units of their group's mean
    (with norms for scores: Fang et al. 2023, DepGraph, section 3.3); each group keeps FLOOR of its channels, in whole
    steps of `step`. Raises UserError where that leaves too many for the density.
    """
    rising = [_rising(scores[name]) for name in groups]
    return dict(zip(groups, _budgeted(prunable, list(groups.values()), rising, density), strict=True))


def step(channels: int) -> int:
    """What a group's kept channels are a multiple of: fewer in between cost as much or more (docs/fast.md)."""
    return 16 if channels >= 32 else 8 if channels >= 16 else 4


def _rising(score: Tensor) -> list[float]:
    """A group's scores from the least, in units of their mean."""
    score = score.detach().cpu().double()
    return (score.sort().values / score.mean().clamp_min(1e-30)).tolist()


def _budgeted(
    prunable: Mapping[str, Shape], groups: Sequence[Group], ranks: Sequence[list[float]], density: float
) -> list[int]:
    """Channels kept by group: those above one score for all groups, the lowest that leaves no more than the density.

    What whole steps leave of the budget is given back, to the group with the highest score below, while it lasts.
    """
    everything = sum(math.prod(shape) for shape in prunable.values())
    scores = sorted({score for rising in ranks for score in rising})

    def kept(cut: float) -> list[int]:
        return [_kept(group.channels, bisect_left(rising, cut)) for group, rising in zip(groups, ranks, strict=True)]

    def share(counts: Sequence[int]) -> float:
        return _left(prunable, groups, counts) / everything

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
        best = max(waiting, key=lambda number: ranks[number][groups[number].channels - counts[number] - 1])
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


def _left(prunable: Mapping[str, Shape], groups: Sequence[Group], kept: Sequence[int]) -> int:
    """Prunable weights left when each group keeps so many channels."""
    extents = {name: list(shape) for name, shape in prunable.items()}
    for group, count in zip(groups, kept, strict=True):
        for slot in group.slots:
            if slot.name in extents:
                extents[slot.name][slot.dim] -= (group.channels - count) * slot.places.shape[1]
    return sum(math.prod(extent) for extent in extents.values())
