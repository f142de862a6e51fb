"""How wide the intervals of several attacks must be for all of them to hold together: max-t over their correlations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from safedeploy.delong import covariance
from safedeploy.seeds import numpy_generator

CONFIDENCE = 0.95
DRAWS = 20_000


def joint_confidence(parts: Sequence[tuple[ArrayLike, ArrayLike]], seed: int) -> float:
    """The confidence each of A intervals needs for all A to hold together at 95 %.

    `parts`: for each of A figures what each member adds to it (m,), and each non-member (n,): DeLong's placements for
    AUCs, indicators of being above the cut for rates. The A estimates are normal in the limit with the
    correlation of those parts; the answer is the 95 % quantile of their largest |z| (Hothorn et al. 2008), between no
    correction, for attacks that are one, and Bonferroni's, for attacks that have nothing in common.
    """
    count = len(parts)
    if count == 1:
        return CONFIDENCE
    spread = covariance([inside for inside, _ in parts], [outside for _, outside in parts])
    scale = np.sqrt(np.diag(spread))
    varies = scale > 0  # a figure without any spread is taken to be correlated with no other
    correlation = np.eye(count)
    correlation[np.ix_(varies, varies)] = spread[np.ix_(varies, varies)] / np.outer(scale[varies], scale[varies])
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = root @ numpy_generator(seed, "joint", count).standard_normal((count, DRAWS))
    largest = np.quantile(np.abs(drawn).max(axis=0), CONFIDENCE)
    needed = float(2 * stats.norm.cdf(largest) - 1)
    return min(max(needed, CONFIDENCE), 1 - (1 - CONFIDENCE) / count)
