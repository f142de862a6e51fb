"""Lower bounds on ε from one trained model (Steinke, Nasr & Jagielski 2023, Privacy Auditing with One Training Run)."""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from safedeploy.results import EpsilonBound
from safedeploy.seeds import numpy_generator

Floats = NDArray[np.float64]

DELTA = 1e-5
CONFIDENCE = 0.95
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the samples called members; fixed before the scores are seen


def one_run_p(correct: int, guesses: int, samples: int, epsilon: float, delta: float) -> float:
    """How likely `correct` or more of `guesses` are right at most where training is (ε, δ)-private (Theorem 5.2).

    `samples` is m: the examples each put in or left out by a fair coin; the attacker may abstain on m − guesses.
    """
    right = special.expit(epsilon)
    tail = float(stats.binom.sf(correct - 1, guesses, right))
    if delta == 0:
        return tail
    below = np.cumsum(stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))  # P(v > W ≥ v − i), i = 1 … v
    steepest = float((below / np.arange(1, correct + 1)).max(initial=0.0))
    return min(1.0, tail + 2 * samples * delta * steepest)


def one_run_epsilon(
    correct: int, guesses: int, samples: int, *, delta: float = DELTA, confidence: float = CONFIDENCE
) -> float:
    """The largest ε that `correct` of `guesses` right refutes at `confidence`: training is not (ε, δ)-private below it.

    0 where nothing is refuted. `samples`: m, as in `one_run_p`.
    """
    level = 1 - confidence
    if guesses == 0 or one_run_p(correct, guesses, samples, 0.0, delta) > level:
        return 0.0
    pure = _pure_epsilon(correct, guesses, level)
    if delta == 0:
        return pure

    def excess(epsilon: float) -> float:
        return one_run_p(correct, guesses, samples, epsilon, delta) - level

    return float(optimize.brentq(excess, 0.0, pure, xtol=1e-6)) if excess(pure) > 0 else pure


def ratio_low(
    true_positives: int, members: int, false_positives: int, nonmembers: int, confidence: float = CONFIDENCE
) -> float:
    """Bailey's (1987) one-sided lower bound of TPR / FPR: a cube-root transform, for large samples; 0 without a hit.

    Its logarithm bounds ε where each sample is of a model of its own. With no false positive it counts half of one.
    """
    if true_positives == 0:
        return 0.0
    z = float(stats.norm.ppf(confidence))
    hits = true_positives - 0.5 if true_positives == members else float(true_positives)
    alarms = 0.5 if false_positives == 0 else float(false_positives)
    alarms -= 0.5 if false_positives == nonmembers else 0.0
    miss, rest = 1 - hits / members, 1 - alarms / nonmembers
    spread = miss / hits + rest / alarms - z**2 * miss * rest / (9 * hits * alarms)
    root = (1 - z / 3 * np.sqrt(max(spread, 0.0))) / (1 - z**2 * rest / (9 * alarms))
    return float(max(0.0, (hits / members) / (alarms / nonmembers) * root**3))


def epsilon_bound(inside: Floats, outside: Floats, attacks: int, seed: int) -> EpsilonBound:
    """From an attack's scores of members (m,) and non-members (n,), as one of `attacks` in an audit.

    The samples scored highest are called members, in shares fixed beforehand (`SHARES`); the best of those bounds holds
    at 1 − 0.05 because each is asked for 1 − 0.05 / 6. The theorem's coin is fair: of the larger side as many are drawn
    as the smaller has. It assumes that membership among the samples judged was drawn at random, as a run's split does.
    """
    size = min(inside.size, outside.size)
    draw = numpy_generator(seed, "epsilon")
    m, n = (side if side.size == size else side[draw.permutation(side.size)[:size]] for side in (inside, outside))
    scores, member = np.concatenate([m, n]), np.repeat([True, False], size)
    order = np.lexsort((draw.random(2 * size), -scores))  # ties by lot: membership must not decide them
    right = np.cumsum(member[order])
    tried = [(int(right[guesses - 1]), guesses) for guesses in _guesses(2 * size)]
    low, (correct, guesses) = _best(tried, 2 * size, 1)
    return EpsilonBound(
        low=low,
        joint_low=_best(tried, 2 * size, attacks)[0],
        most=_best([(guesses, guesses) for _, guesses in tried], 2 * size, attacks)[0],
        delta=DELTA,
        confidence=CONFIDENCE,
        guesses=guesses,
        correct=correct,
    )


def _guesses(samples: int) -> list[int]:
    return sorted({max(1, round(share * samples)) for share in SHARES})


def _best(tried: list[tuple[int, int]], samples: int, attacks: int) -> tuple[float, tuple[int, int]]:
    """The highest bound over (correct, guesses) that holds for all of them, and for `attacks` such attacks, at once."""
    level = (1 - CONFIDENCE) / len(SHARES) / attacks
    best, where = 0.0, tried[-1]
    for correct, guesses in sorted(tried, key=lambda pair: -_pure_epsilon(pair[0], pair[1], level)):
        if _pure_epsilon(correct, guesses, level) <= best:
            break  # δ only takes away from it
        found = one_run_epsilon(correct, guesses, samples, confidence=1 - level)
        best, where = max((best, where), (found, (correct, guesses)))
    return best, where


def _pure_epsilon(correct: int, guesses: int, level: float) -> float:
    """The one-run bound at δ = 0: the log odds of Clopper & Pearson's lower limit of the share of right guesses."""
    if correct == 0:
        return 0.0
    return max(0.0, float(special.logit(special.betaincinv(correct, guesses - correct + 1, level))))
