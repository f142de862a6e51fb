"""The views of a sample that are asked about: itself, then fixed small changes, the same for every model."""

import numpy as np

from safedeploy.artifacts.base import Array

SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
LARGEST = 2 * len(SHIFTS)


def views(x: Array, count: int) -> list[Array]:
    """`count` arrays like x (n, channels, height, width): x, x mirrored, then x shifted by a pixel, plain and mirrored.

    Shifts repeat the edge. Other inputs than images have one view. Raises ValueError for more views than there are.
    """
    if not 1 <= count <= (LARGEST if x.ndim == 4 else 1):
        raise ValueError(f"inputs of shape {x.shape[1:]} have no {count} views")
    made = []
    for number in range(count):
        down, right = SHIFTS[number // 2]
        view = x
        if (down, right) != (0, 0):
            edges = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
            view = edges[:, :, 1 - down : 1 - down + x.shape[2], 1 - right : 1 - right + x.shape[3]]
        made.append(np.ascontiguousarray(view[..., ::-1]) if number % 2 else np.ascontiguousarray(view))
    return made
