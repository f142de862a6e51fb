"""How φ spreads over the references that trained on a sample, or did not: normal, or Student's t, by its variance.

Carlini et al. 2022 (LiRA) take a normal distribution with a variance a sample, or one for all. `shrunken` lies between:
a sample's variance is drawn to the common one as far as its few models warrant (Smyth 2004, "Linear models and
empirical Bayes methods", sections 3 and 6), and the prediction of one more model is Student's t.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, polygamma

from safedeploy.attacks.references import Bools, Floats

MOST_FREEDOM = 1e6  # where samples' variances differ by chance alone: as good as normal
SMALLEST = 1e-6  # a variance below this share of the raw one is rounding


@dataclass(frozen=True, eq=False)
class Seen:
    """φ of the models of one side: count (n, 1), mean (n, Q), squares (n, Q) about the mean, raw (Q,) variance of all.

    A sample that no model of this side has takes the mean of all.
    """

    count: NDArray[np.int64]
    mean: Floats
    squares: Floats
    raw: Floats


@dataclass(frozen=True, eq=False)
class Spread:
    """Location and scale (n, Q); Student's t with `freedom` (n, 1) degrees where given, else normal."""

    mean: Floats
    scale: Floats
    freedom: Floats | None = None

    def log_density(self, phi: Floats) -> Floats:
        """phi: (n, Q) → (n, Q)."""
        z = (phi - self.mean) / self.scale
        density = stats.norm.logpdf(z) if self.freedom is None else stats.t.logpdf(z, self.freedom)
        return np.asarray(density - np.log(self.scale))

    def log_tail(self, phi: Floats) -> Floats:
        """log P(φ' > phi), (n, Q): exact where the log of the other side would round to 0 and tie."""
        z = (phi - self.mean) / self.scale
        return np.asarray(stats.norm.logsf(z) if self.freedom is None else stats.t.logsf(z, self.freedom))


def seen(phi: Floats, chosen: Bools) -> Seen:
    """phi: (K, n, Q); chosen: (K, n), the models of this side, sample by sample."""
    pick = chosen[:, :, None]
    count = chosen.sum(axis=0)[:, None]
    everything = phi[chosen]  # (models and samples, Q)
    common = everything.mean(axis=0) if len(everything) else phi.mean(axis=(0, 1))
    total = np.where(pick, phi, 0.0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), common)
    squares = (np.where(pick, phi - mean, 0.0) ** 2).sum(axis=0)
    spread = everything.var(axis=0) if len(everything) > 1 else np.ones(phi.shape[2])
    return Seen(count, mean, squares, np.maximum(spread, np.finfo(np.float64).tiny ** 0.5))


def common(side: Seen) -> Spread:
    """One raw deviation for all samples: not the residual one, which one model a side makes zero."""
    return Spread(side.mean, np.broadcast_to(np.sqrt(side.raw), side.mean.shape))


def own(side: Seen) -> Spread:
    """Each sample's own deviation, as LiRA's code has it (the maximum-likelihood one)."""
    variance = side.squares / np.maximum(side.count, 1)
    return Spread(side.mean, np.sqrt(np.maximum(variance, SMALLEST * side.raw)))


def shrunken(side: Seen) -> Spread:
    """Between the two, as far as the data warrant; `common` where no sample has two models."""
    freedom = side.count - 1
    if (freedom > 0).sum() < 2:
        return common(side)
    prior, level = zip(*(_prior(side, view) for view in range(side.mean.shape[1])), strict=True)
    known = np.maximum(freedom, 0)
    variance = (np.array(prior) * np.array(level) + side.squares) / (np.array(prior) + known)
    raw = np.broadcast_to(side.raw, variance.shape)
    variance = np.where(side.count > 0, variance * (1 + 1 / np.maximum(side.count, 1)), raw)
    return Spread(side.mean, np.sqrt(np.maximum(variance, SMALLEST * side.raw)), np.array(prior) + known)


def _prior(side: Seen, view: int) -> tuple[float, float]:
    """(degrees of freedom, variance) of the common part: the moments of log s² (Smyth 2004, section 6.2)."""
    freedom = side.count[:, 0] - 1.0
    usable = freedom > 0
    half = freedom[usable] / 2
    floor = SMALLEST * side.raw[view]
    own_variance = np.maximum(side.squares[usable, view] / freedom[usable], floor)
    logs = np.log(own_variance) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    degrees = MOST_FREEDOM if excess <= 0 else min(2 * _inverse_trigamma(excess), MOST_FREEDOM)
    return degrees, float(np.exp(logs.mean() + digamma(degrees / 2) - np.log(degrees / 2)))


def _inverse_trigamma(value: float) -> float:
    """y with ψ'(y) = value > 0, by Newton's method from below (Smyth 2004, appendix)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if -step < 1e-8 * y:
            break
    return y
