"""Two files attacked on the same samples: which leaks less? Differences are paired, sample by sample."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from safedeploy.audit.attempt import Attempt
from safedeploy.audit.exam import Exam
from safedeploy.audit.judge import FPRS
from safedeploy.audit.ranking import Ints, Ranking, Weights, allowed_false_positives, chunks, rank, true_positives
from safedeploy.delong import covariance, placements
from safedeploy.results import Comparison
from safedeploy.roc import tpr_at_fpr
from safedeploy.seeds import numpy_generator

Floats = NDArray[np.float64]
Difference = tuple[float, float, float, float]

CONFIDENCE = 0.95
DRAWS = 1000


def compare(
    first: str, first_attempt: Attempt, second: str, second_attempt: Attempt, exam: Exam, fprs: Sequence[float] = FPRS
) -> list[Comparison]:
    """Every attack that ran on both files: AUC, then the true-positive rate at each of `fprs`, second minus first.

    Both attempts must be of this exam, so that each row of one is the same sample as that row of the other.
    """
    count = len(exam.members.y)
    rows = []
    for attack, scores in first_attempt.scores.items():
        if attack not in second_attempt.scores:
            continue
        pair = scores.values, second_attempt.scores[attack].values
        figures = [("auc", *_areas(pair, count), auc_difference(*pair, count))]
        differences = rate_differences(*pair, count, fprs, exam.knowledge.seed)
        for fpr, difference in zip(fprs, differences, strict=True):
            rates = [tpr_at_fpr(values[:count], values[count:], fpr).tpr for values in pair]
            figures.append((f"tpr@{fpr:g}", rates[0], rates[1], difference))
        for figure, before, after, (value, low, high, p) in figures:
            rows.append(
                Comparison(
                    first=first,
                    second=second,
                    attack=attack.name,
                    figure=figure,
                    first_value=before,
                    second_value=after,
                    difference=value,
                    low=low,
                    high=high,
                    p=p,
                )
            )
    return rows


def auc_difference(first: Floats, second: Floats, members: int) -> Difference:
    """(difference, low, high, p) of AUC(second) − AUC(first), scores (n,) of the same samples, `members` of them first.

    DeLong et al. 1988, section 4: the difference over its standard error is normal, with the covariance of the two.
    """
    parts = [placements(values[:members], values[members:]) for values in (first, second)]
    spread = covariance([inside for inside, _ in parts], [outside for _, outside in parts])
    value = float(parts[1][0].mean() - parts[0][0].mean())
    error = float(np.sqrt(max(0.0, spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])))
    if error < 1e-12:  # the same order of samples, or two perfect ones: nothing varies
        return value, value, value, 1.0 if abs(value) < 1e-12 else 0.0
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * error
    return value, max(-1.0, value - half), min(1.0, value + half), float(2 * stats.norm.sf(abs(value) / error))


def rate_differences(
    first: Floats, second: Floats, members: int, fprs: Sequence[float], seed: int, draws: int = DRAWS
) -> list[Difference]:
    """(difference, low, high, p) of the true-positive rate at each of `fprs`, second minus first, by paired bootstrap.

    Members and non-members are drawn again with replacement, each among themselves, and both files are judged on what
    was drawn: percentiles of the difference, and twice the smaller share on either side of 0.
    """
    total = first.size
    outside = total - members
    allowed = [allowed_false_positives(fpr, outside) for fpr in fprs]
    rankings = [rank(values) for values in (first, second)]
    draw = numpy_generator(seed, "compare")
    whole = np.zeros((total, 1), dtype=np.uint8), np.zeros((total, 1), dtype=np.uint8)
    whole[0][:members], whole[1][members:] = 1, 1
    seen = _difference(rankings, *whole, allowed) / members
    drawn = []
    for size in chunks(total, draws):
        inside, others = (np.zeros((total, size), dtype=np.uint8) for _ in range(2))
        inside[:members], others[members:] = _resampled(draw, members, size), _resampled(draw, outside, size)
        drawn.append(_difference(rankings, inside, others, allowed) / members)
    found = []
    for value, values in zip(seen[:, 0], np.concatenate(drawn, axis=1), strict=True):
        low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        side = min((values <= 0).sum(), (values >= 0).sum())
        p = min(1.0, 2 * float(1 + side) / (1 + values.size))
        found.append((float(value), float(min(low, value)), float(max(high, value)), p))
    return found


def _areas(pair: tuple[Floats, Floats], members: int) -> tuple[float, float]:
    before, after = (float(placements(values[:members], values[members:])[0].mean()) for values in pair)
    return before, after


def _difference(rankings: Sequence[Ranking], members: Weights, nonmembers: Weights, allowed: Sequence[int]) -> Ints:
    before, after = (true_positives(ranking, members, nonmembers, allowed) for ranking in rankings)
    return after - before


def _resampled(draw: np.random.Generator, count: int, draws: int) -> Weights:
    """(count, draws): how often each of `count` samples is among as many drawn with replacement."""
    chosen = draw.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=count * draws).reshape(draws, count).T.astype(np.uint8)
