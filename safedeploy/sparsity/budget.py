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
    raw = {name: float(sum(shape)) for name, shape in shapes.items()}
    return _round_to(_shares(raw, sizes, total), sizes, total)


@dataclass(frozen=True)
class Divisible:
    """Layers whose `size` groups are kept or not, each of which keeps `cost` weights. shapes: of all their weights."""

    shapes: tuple[Shape, ...]
    size: int
    cost: float

    @property
    def weights(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def raw(self) -> float:
        """What ERK's share of the weights is in proportion to: sum(shape) / prod(shape) of prod(shape)."""
        return float(sum(sum(shape) for shape in self.shapes))


def erk_groups(layers: Mapping[str, Divisible], everything: int, density: float, structure: str) -> dict[str, int]:
    """Kept groups by layer: ERK's weights in whole groups, at least one a layer, their total within one group.

    everything: all weights, those beside the layers too, which are kept. Raises UserError, naming a layer, where no
    counts meet the density.
    """
    whole = everything - sum(layer.weights for layer in layers.values())
    total = round(density * everything)
    costs = {name: layer.cost for name, layer in layers.items()}
    most = {name: layer.size * layer.cost for name, layer in layers.items()}
    least, largest = whole + sum(costs.values()), max(costs, key=lambda name: costs[name])
    widest = max(most, key=lambda name: most[name])
    if total < least - max(costs.values()) / 2:
        enough = math.ceil(1e4 * least / everything) / 1e4
        raise UserError(
            f"density {density:g} with --structure {structure}: one of each layer, as of {largest} with"
            f" {costs[largest]:.0f} weights, is more already; use at least {enough:g}"
        )
    if total > whole + sum(most.values()) + 0.5:
        reached = math.floor(1e4 * (whole + sum(most.values())) / everything) / 1e4
        raise UserError(
            f"density {density:g} with --structure {structure}: layers keep at most {reached:g} of the weights, as"
            f" {widest} {most[widest]:.0f} of {layers[widest].weights}; use that or less, or irregular"
        )
    exact = _shares({name: layer.raw for name, layer in layers.items()}, most, total - whole)
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


def _shares(raw: Mapping[str, float], most: Mapping[str, float], total: float) -> dict[str, float]:
    """What each layer keeps, not rounded: in proportion to `raw`, at most `most`."""
    dense: set[str] = set()
    while True:
        left = total - sum(most[name] for name in dense)
        rest = [name for name in raw if name not in dense]
        if not rest:
            break
        scale = left / sum(raw[name] for name in rest)
        over = {name for name in rest if scale * raw[name] > most[name]}
        if not over:
            break
        dense |= over
    return {name: float(most[name]) if name in dense else scale * raw[name] for name in raw}


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
