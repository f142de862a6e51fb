"""How well hidden values were guessed, and by how much better than by another guesser of the same samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from safedeploy.delong import placements
from safedeploy.results import AttributeAdvantage, AttributeFigures, ValueAuc
from safedeploy.roc import CONFIDENCE, auc_interval, proportion_interval

Floats = NDArray[np.float64]
MIN_JUDGED = 10  # samples that hold a value, and that do not, before its AUC counts


@dataclass(frozen=True, eq=False)
class Guesses:
    """n samples' scores of V values, judged. `odds`: (n, V) the score of a value over all others'.

    aucs: value → AUC of its odds. influence: (n,) of each sample on the mean of these, so that the sum of squares is
    DeLong's variance of the mean. right: (n,) whether the best-scored value is the sample's.
    """

    odds: Floats
    aucs: dict[int, float]
    influence: Floats
    right: NDArray[np.bool_]

    @property
    def auc(self) -> float:
        return float(np.mean(list(self.aucs.values())))


def judged(scores: Floats, values: NDArray[np.int64], counted: list[int]) -> Guesses:
    """scores: (n, V), log scale. values: (n,) what the samples hold. `counted`: values whose AUCs are averaged."""
    odds = _log_odds(scores)
    influence = np.zeros(len(values))
    aucs = {}
    for value in counted:
        own = values == value
        over_own, over_rest = placements(odds[own, value], odds[~own, value])
        aucs[value] = float(over_own.mean())
        for part, where in ((over_own, own), (over_rest, ~own)):
            scale = np.sqrt(part.size * (part.size - 1)) * len(counted)  # makes squares add to var(ddof=1) / size
            influence[where] += (part - part.mean()) / scale
    return Guesses(odds, aucs, influence, scores.argmax(axis=1) == values)


def counted_values(values: NDArray[np.int64], names: int) -> list[int]:
    """Values that enough samples hold, and enough do not."""
    held = np.bincount(values, minlength=names)
    return [value for value in range(names) if min(held[value], len(values) - held[value]) >= MIN_JUDGED]


def figures(guesses: Guesses, values: NDArray[np.int64], names: tuple[str, ...]) -> AttributeFigures:
    correct = int(guesses.right.sum())
    low, high = proportion_interval(correct, len(values))
    half = _z(CONFIDENCE) * np.sqrt(np.square(guesses.influence).sum())
    per_value = []
    for value in guesses.aucs:
        own, odds = values == value, guesses.odds[:, value]
        auc, auc_low, auc_high = auc_interval(odds[own], odds[~own])
        per_value.append(ValueAuc(value=names[value], samples=int(own.sum()), auc=auc, low=auc_low, high=auc_high))
    return AttributeFigures(
        accuracy=correct / len(values),
        accuracy_low=low,
        accuracy_high=high,
        auc=guesses.auc,
        auc_low=float(max(0.0, guesses.auc - half)),
        auc_high=float(min(1.0, guesses.auc + half)),
        per_value=per_value,
    )


def auc_advantage(attack: Guesses, baseline: Guesses, confidence: float = CONFIDENCE) -> AttributeAdvantage:
    """Mean AUC over the baseline's on the same samples, with DeLong's paired interval (1988)."""
    paired = attack.influence - baseline.influence
    return _interval(attack.auc - baseline.auc, float(np.square(paired).sum()), confidence)


def accuracy_advantage(attack: Guesses, baseline: Guesses, confidence: float = CONFIDENCE) -> AttributeAdvantage:
    """Accuracy over the baseline's on the same samples, with Bonett & Price's paired interval (2012, equation 8).

    It is Wald's after one sample is added to each kind of discordant pair; the estimate is the plain difference.
    """
    count, gained, lost = len(attack.right), *discordant(attack, baseline)
    more, fewer = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    spread = (more + fewer - (more - fewer) ** 2) / (count + 2)
    centred = _interval(more - fewer, spread, confidence)
    value = (gained - lost) / count
    return AttributeAdvantage(value=value, low=min(centred.low, value), high=max(centred.high, value))


def discordant(attack: Guesses, baseline: Guesses) -> tuple[int, int]:
    """Samples that the attack alone guesses right, and that the baseline alone does."""
    return int((attack.right & ~baseline.right).sum()), int((~attack.right & baseline.right).sum())


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p (1947): each of the discordant samples is as likely to be of either kind."""
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def difference(first: AttributeAdvantage, second: AttributeAdvantage) -> AttributeAdvantage:
    """first − second, of different samples, at the confidence of their intervals (MOVER, Zou & Donner 2008)."""
    value = first.value - second.value
    down = np.hypot(first.value - first.low, second.high - second.value)
    up = np.hypot(first.high - first.value, second.value - second.low)
    return AttributeAdvantage(value=value, low=float(value - down), high=float(value + up))


def _interval(value: float, variance: float, confidence: float) -> AttributeAdvantage:
    half = _z(confidence) * float(np.sqrt(variance))
    return AttributeAdvantage(value=value, low=max(-1.0, value - half), high=min(1.0, value + half))


def _z(confidence: float) -> float:
    return float(stats.norm.ppf(0.5 + confidence / 2))


def _log_odds(scores: Floats) -> Floats:
    """(n, V): each value's score minus the log of the sum of the others' exponentials."""
    columns = range(scores.shape[1])
    return np.stack(
        [scores[:, value] - logsumexp(np.delete(scores, value, axis=1), axis=1) for value in columns], axis=1
    )
