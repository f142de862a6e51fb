"""Which validation inputs set int8 ranges, and which judge the files: no input does both."""

import numpy as np

from safedeploy.data.split import Indices

MOST = 512  # ranges hardly move beyond it
FEWEST = 100
ENOUGH_TO_JUDGE = 500


def divide(count: int) -> tuple[Indices, Indices]:
    """Places of `count` validation inputs, evenly spread: (those that calibrate, those that judge).

    A third calibrates, at most MOST, and fewer where that leaves ENOUGH_TO_JUDGE. One input alone does both.
    """
    if count < 2:
        return np.arange(count), np.arange(count)
    third = max(1, min(MOST, count // 3))
    taken = min(third, max(count - ENOUGH_TO_JUDGE, min(FEWEST, third)))
    chosen = np.diff(np.arange(count + 1) * taken // count) > 0
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)
