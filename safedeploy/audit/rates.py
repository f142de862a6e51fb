"""An interval for the true-positive rate at a false-positive rate that counts the cut's own uncertainty."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Floats = NDArray[np.float64]

NODES = 40  # of the quadrature on either side of the asked rate
TAIL = 1e-10  # of the cut's distribution left out at either end


def curve_interval(
    true_positives: int, members: int, nonmembers: int, fpr: float, confidence: float
) -> tuple[float, float]:
    """(low, high) for the ROC at `fpr`, when `true_positives` members lie above the (k + 1)-th highest non-member.

    k = ⌊fpr · nonmembers⌋. The cut's real false-positive rate U is Beta(k + 1, nonmembers − k), whatever the scores'
    distribution, and given U the members above it are binomial at ROC(U). An attacker who guesses by a coin between two
    cuts reaches every point under the line from (0, 0), so ROC(U) ≤ ROC(fpr) · U / fpr for U above `fpr`; just below
    it the curve is taken to lie on or over that line. Inverting both one-sided tests at (1 − confidence) / 2 gives an
    interval that needs no large sample, and says something even where no non-member may be above the cut.
    """
    at, weight = _cut(int(np.floor(fpr * nonmembers + 1e-9)), nonmembers, fpr)
    steeper, flatter = np.maximum(1.0, at / fpr), np.minimum(1.0, at / fpr)
    level, hits, misses = (1 - confidence) / 2, true_positives, members - true_positives

    def as_many(rate: float) -> float:
        return float(weight @ special.betainc(hits, misses + 1, np.minimum(1.0, rate * steeper))) - level

    def as_few(rate: float) -> float:
        return float(weight @ special.betaincc(hits + 1, misses, rate * flatter)) - level

    low = 0.0 if hits == 0 else float(optimize.brentq(as_many, 0.0, 1.0, xtol=1e-7))
    high = 1.0 if misses == 0 or as_few(1.0) >= 0 else float(optimize.brentq(as_few, 0.0, 1.0, xtol=1e-7))
    return low, high


@lru_cache(maxsize=64)
def _cut(allowed: int, nonmembers: int, fpr: float) -> tuple[Floats, Floats]:
    """Nodes and weights that integrate over U, the real false-positive rate of the cut, with a break at `fpr`."""
    cut = stats.beta(allowed + 1, nonmembers - allowed)
    first, last = cut.ppf(TAIL), cut.isf(TAIL)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    parts = list(pairwise([first, *([fpr] if first < fpr < last else []), last]))
    at = np.concatenate([0.5 * (b - a) * nodes + 0.5 * (b + a) for a, b in parts])
    weight = np.concatenate([0.5 * (b - a) * weights for a, b in parts]) * cut.pdf(at)
    return at, weight
