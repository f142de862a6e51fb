"""How many weights each layer keeps: Erdős-Rényi-Kernel budgets, exact in total (Evci et al. 2020, RigL, section 3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from safedeploy.errors import UserError

Shape = tuple[int, ...]


def erk(shapes: Mapping[str, Shape], density: float) -> dict[str, int]:
    """Kept weights by layer: proportional to sum(shape) / prod(shape), layers that would pass 1 made dense, repeated.

    The counts add up to round(density · weights); every layer keeps at least one weight. Raises UserError where that
    is not possible.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = round(density * sum(sizes.values()))
    if total < len(sizes):
        least = math.ceil(1e4 * len(sizes) / sum(sizes.values())) / 1e4
        raise UserError(
            f"density {density:g} keeps {total} weights, fewer than the {len(sizes)} layers: use at least {least:g}"
        )
    return _round_to(_shares(shapes, sizes, total), sizes, total)


@dataclass(frozen=True)
class Divisible:
    """A layer of `size` groups that are kept or not, each of which keeps `cost` weights. shape: of all its weights."""

    shape: Shape
    size: int
    cost: float


def erk_groups(layers: Mapping[str, Divisible], whole: int, density: float, structure: str) -> dict[str, int]:
    """Kept groups by layer: ERK's weights in whole groups, at least one a layer, their total within one group.

    whole: weights beside them that are all kept. Raises UserError, naming a layer, where no counts meet the density.
    """
    everything = sum(math.prod(layer.shape) for layer in layers.values()) + whole
    total = round(density * everything)
    costs = {name: layer.cost for name, layer in layers.items()}
    most = {name: layer.size * layer.cost for name, layer in layers.items()}
    least, largest = whole + sum(costs.values()), max(costs, key=lambda name: costs[name])
    widest = max(most, key=lambda name: most[name])
    if total < least - max(costs.values()) / 2:
        raise UserError(
            f"density {density:g} with --structure {structure}: what every layer keeps at least is more,"
            f" {costs[largest]:g} weights in {largest}; use at least {math.ceil(1e4 * least / everything) / 1e4:g}"
        )
    if total > whole + sum(most.values()) + 0.5:
        reached = math.floor(1e4 * (whole + sum(most.values())) / everything) / 1e4
        raise UserError(
            f"density {density:g} with --structure {structure}: layers keep at most {reached:g} of the weights, as"
            f" {widest} {most[widest]:g} of {math.prod(layers[widest].shape)}; use that or less, or irregular"
        )
    exact = _shares({name: layer.shape for name, layer in layers.items()}, most, total - whole)
    counts = {name: max(1, math.floor(exact[name] / costs[name] + 1e-9)) for name in layers}
    left = total - whole - sum(counts[name] * costs[name] for name in layers)
    while left < 0 and (able := [name for name in layers if counts[name] > 1]):
        given = min(able, key=lambda name: exact[name] / costs[name] - counts[name])
        counts[given] -= 1
        left += costs[given]
    while able := [name for name in layers if counts[name] < layers[name].size and costs[name] <= left + 0.5]:
        taken = max(able, key=lambda name: exact[name] / costs[name] - counts[name])
        counts[taken] += 1
        left -= costs[taken]
    return counts


def _shares(shapes: Mapping[str, Shape], most: Mapping[str, float], total: float) -> dict[str, float]:
    """What each layer keeps, not rounded; `most`: what it can keep."""
    dense: set[str] = set()
    while True:
        left = total - sum(most[name] for name in dense)
        raw = {name: float(sum(shapes[name])) for name in shapes if name not in dense}
        if not raw:
            break
        scale = left / sum(raw.values())
        over = {name for name in raw if scale * raw[name] > most[name]}
        if not over:
            break
        dense |= over
    return {name: float(most[name]) if name in dense else scale * raw[name] for name in shapes}


def _round_to(exact: Mapping[str, float], sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole counts in [1, size] that add up to `total`, by largest remainder."""
    counts = {name: max(1, math.floor(value)) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: exact[name] - math.floor(exact[name]), reverse=True)
    while (missing := total - sum(counts.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [name for name in by_remainder if 1 <= counts[name] + step <= sizes[name]]
        if step < 0:
            movable.sort(key=lambda name: counts[name], reverse=True)
        for name in movable[: abs(missing)]:
            counts[name] += step
    return counts
