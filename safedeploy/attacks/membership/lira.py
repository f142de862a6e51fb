"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, section V): φ as of models with the sample, or without."""

from collections.abc import Callable

import numpy as np

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import likelihood
from safedeploy.attacks.membership.likelihood import Seen, Spread, seen
from safedeploy.attacks.membership.pool import pool
from safedeploy.attacks.references import Answers, Floats
from safedeploy.data.samples import Samples

Variance = Callable[[Seen], Spread]

PER_EXAMPLE = 32  # references from which the published attack trusts each sample's own variance


def online(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """Λ = log p(φ | with) − log p(φ | without), variances shrunken: better at every K than both published choices."""
    asked = pool(artifact, knowledge, targets)
    return asked.scores(ratio(asked.phi, asked.answers, likelihood.shrunken))


def offline(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """From the references without the sample alone."""
    asked = pool(artifact, knowledge, targets)
    return asked.scores(one_sided(asked.phi, asked.answers, likelihood.shrunken))


def published(count: int) -> Variance:
    """The published attack's variance with `count` references: a sample's own from 32 on, below one for all."""
    return likelihood.own if count >= PER_EXAMPLE else likelihood.common


def ratio(phi: Floats, answers: Answers, variance: Variance) -> Floats:
    """Equation 3 in logarithms, summed over views as independent coordinates. phi: (n, Q) → (n,)."""
    inside, outside = variance(seen(answers.phi, answers.member)), variance(seen(answers.phi, ~answers.member))
    return np.asarray((inside.log_density(phi) - outside.log_density(phi)).sum(axis=1))


def one_sided(phi: Floats, answers: Answers, variance: Variance) -> Floats:
    """−log P(φ' > φ | without): equation 4's 1 − P in the same order, but without ties where P is tiny."""
    return np.asarray(-variance(seen(answers.phi, ~answers.member)).log_tail(phi).sum(axis=1))
