"""Changes of an image that a person would not mind: shifted by some pixels, plain and mirrored."""

import numpy as np

from safedeploy.artifacts.base import Array, Unopenable
from safedeploy.attacks.membership.queries import Change


def shifts(input_shape: tuple[int, ...], farthest: int) -> list[Change]:
    """Every shift (down, right) with |down| + |right| ≤ `farthest` (Choquette-Choo et al. 2021, section 4.1), nearest
    first, each plain and mirrored; edges are repeated. Raises Unopenable where the input is no image."""
    if len(input_shape) != 3:
        raise Unopenable(f"its inputs of shape {input_shape} are no images to shift or mirror")
    reach = range(-farthest, farthest + 1)
    moves = [(down, right) for down in reach for right in reach if abs(down) + abs(right) <= farthest]
    moves.sort(key=lambda move: (abs(move[0]) + abs(move[1]), move))
    return [_shift(down, right, mirrored) for down, right in moves for mirrored in (False, True)]


def _shift(down: int, right: int, mirrored: bool) -> Change:
    def change(x: Array) -> Array:
        height, width = x.shape[2:]
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return x[:, :, rows[:, None], columns[::-1] if mirrored else columns]

    return change
