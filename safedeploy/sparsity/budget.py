"""How many weights each layer keeps: Erdős-Rényi-Kernel budgets, exact in total (Evci et al. 2020, RigL, section 3)."""

import math
from collections.abc import Mapping

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
    dense: set[str] = set()
    while True:
        left = total - sum(sizes[name] for name in dense)
        raw = {name: sum(shapes[name]) / sizes[name] for name in shapes if name not in dense}
        if not raw:
            break
        scale = left / sum(raw[name] * sizes[name] for name in raw)
        over = {name for name in raw if scale * raw[name] > 1}
        if not over:
            break
        dense |= over
    exact = {name: float(sizes[name]) if name in dense else scale * raw[name] * sizes[name] for name in shapes}
    return _round_to(exact, sizes, total)


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
