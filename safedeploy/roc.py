"""ROC curves and the intervals that go with them; scores are higher for 'more likely a member'."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from safedeploy.delong import placements
from safedeploy.results import Curve, Histogram, TprAtFpr

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
EXPECTED_FALSE_POSITIVES = 5  # below this, the rate at a false-positive rate rests on a handful of samples


def roc_curve(members: ArrayLike, nonmembers: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Rates at every distinct threshold, ties together: (fpr, tpr, thresholds), from (0, 0) to (1, 1)."""
    m, n = _scores(members), _scores(nonmembers)
    thresholds = np.unique(np.concatenate([m, n]))[::-1]
    tpr = 1 - np.searchsorted(np.sort(m), thresholds, side="left") / m.size
    fpr = 1 - np.searchsorted(np.sort(n), thresholds, side="left") / n.size
    return np.r_[0.0, fpr], np.r_[0.0, tpr], np.r_[np.inf, thresholds]


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """P(member scores higher) + ½ P(tie): the Mann-Whitney statistic."""
    m, n = _scores(members), _scores(nonmembers)
    ranks = stats.rankdata(np.concatenate([m, n]))
    return float((ranks[: m.size].sum() - m.size * (m.size + 1) / 2) / (m.size * n.size))


def auc_interval(
    members: ArrayLike, nonmembers: ArrayLike, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """AUC with DeLong's interval (DeLong et al. 1988; midranks of Sun & Xu 2014), on the logit scale: inside [0, 1]."""
    m, n = _scores(members), _scores(nonmembers)
    value = auc(m, n)
    fewest = min(m.size, n.size)
    variance = sum(part.var(ddof=1) / part.size for part in placements(m, n)) if fewest > 1 else 0.0
    if variance == 0 or value in (0.0, 1.0):
        # no spread to estimate from: bound by the smaller set's rule-of-three style exact interval
        low, high = proportion_interval(round(value * fewest), fewest, confidence)
        return value, min(low, value), max(high, value)
    z = stats.norm.ppf(0.5 + confidence / 2)
    half = z * np.sqrt(variance) / (value * (1 - value))
    logit = np.log(value / (1 - value))
    return value, float(1 / (1 + np.exp(-(logit - half)))), float(1 / (1 + np.exp(-(logit + half))))


def proportion_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper & Pearson's exact interval (1934) for a proportion."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(special.betainccinv(successes + 1, trials - successes, tail))
    return low, high


def mean_of_proportions_interval(
    first: tuple[int, int], second: tuple[int, int], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """½ (p₁ + p₂) from two (successes, trials), with Agresti & Caffo's adjusted interval (2000).

    Balanced accuracy is such a mean.
    """
    estimate = 0.5 * (first[0] / first[1] + second[0] / second[1])
    adjusted = [(successes + 1) / (trials + 2) for successes, trials in (first, second)]
    variance = sum(p * (1 - p) / (trials + 2) for p, (_, trials) in zip(adjusted, (first, second), strict=True))
    half = stats.norm.ppf(0.5 + confidence / 2) * 0.5 * np.sqrt(variance)
    centre = 0.5 * sum(adjusted)
    return estimate, float(max(0.0, min(centre - half, estimate))), float(min(1.0, max(centre + half, estimate)))


def tpr_at_fpr(members: ArrayLike, nonmembers: ArrayLike, fpr: float, confidence: float = CONFIDENCE) -> TprAtFpr:
    """The best true-positive rate whose realised false-positive rate is not above `fpr`, and what to believe of it.

    Under the null, with k = ⌊fpr · n⌋ false positives allowed, the share of members above the (k+1)-th highest
    non-member is Beta(k+1, n−k) distributed, so their number is beta-binomial: `null_high` is its 95th percentile.
    """
    m, n = np.sort(_scores(members)), np.sort(_scores(nonmembers))
    allowed = int(np.floor(fpr * n.size + 1e-9))
    bar = n[n.size - allowed - 1] if allowed < n.size else -np.inf
    positives = int(m.size - np.searchsorted(m, bar, side="right"))
    false_positives = int(n.size - np.searchsorted(n, bar, side="right"))
    low, high = proportion_interval(positives, m.size, confidence)
    return TprAtFpr(
        fpr=fpr,
        tpr=positives / m.size,
        low=low,
        high=high,
        realised_fpr=false_positives / n.size,
        true_positives=positives,
        false_positives=false_positives,
        null_high=_null_high(m.size, n.size, allowed),
        resolvable=bool(fpr * n.size >= EXPECTED_FALSE_POSITIVES - 1e-9),
    )


@lru_cache(maxsize=64)
def _null_high(members: int, nonmembers: int, allowed: int) -> float:
    """The same for every attack on the same samples, and slow to find."""
    if allowed >= nonmembers:
        return 1.0
    return float(stats.betabinom(members, allowed + 1, nonmembers - allowed).ppf(0.95) / members)


def best_threshold(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """The threshold of highest balanced accuracy; 'member' is a score at or above it."""
    fpr, tpr, thresholds = roc_curve(members, nonmembers)
    best = int(np.argmax(tpr - fpr))
    if best == 0:
        return float(np.nextafter(thresholds[1], np.inf))
    lowest = thresholds[best]
    below = thresholds[best + 1] if best + 1 < thresholds.size else lowest
    # halfway to the next lower score, so that the cut is not tied to one sample, where a float lies between them
    middle = 0.5 * lowest + 0.5 * below
    return float(middle if below < middle < lowest else lowest)


def thin_curve(members: ArrayLike, nonmembers: ArrayLike, points: int = 200) -> Curve:
    """The ROC curve at `points` places, evenly in log FPR and in FPR, for drawing on log axes."""
    fpr, tpr, _ = roc_curve(members, nonmembers)
    smallest = 1 / _scores(nonmembers).size
    wanted = np.unique(np.r_[0.0, np.geomspace(smallest, 1, points // 2), np.linspace(0, 1, points // 2)])
    at = np.searchsorted(fpr, wanted + 1e-12, side="right") - 1
    return Curve(fpr=np.round(wanted, 7).tolist(), tpr=np.round(tpr[at], 7).tolist())


def score_histogram(members: ArrayLike, nonmembers: ArrayLike, bins: int = 40) -> Histogram:
    """Both score distributions in shared bins over the central 99 % of scores; the rest counts in the outer bins."""
    m, n = _scores(members), _scores(nonmembers)
    low, high = np.quantile(np.concatenate([m, n]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    counts = [np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0].tolist() for part in (m, n)]
    return Histogram(edges=edges.tolist(), members=counts[0], nonmembers=counts[1])


def _scores(values: ArrayLike) -> Floats:
    scores = np.asarray(values, dtype=np.float64).ravel()
    if scores.size == 0:
        raise ValueError("scores are empty")
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN")
    return scores
