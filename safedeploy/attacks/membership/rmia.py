"""RMIA (Zarifzadeh et al. 2024): p(x) of the model against the references' mean p(x).

Ranked by that ratio itself. The paper counts the population samples z whose ratio it exceeds γ times: the same order,
but with ties, which cost the rates at few false positives; so the population, known non-members, only sets the cut.
"""

import numpy as np
from scipy.special import log_expit, logsumexp

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership.pool import pool
from safedeploy.attacks.references import Answers, Bools, Floats
from safedeploy.data.samples import Samples


def online(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """The references' p: mean of those with the sample and those without."""
    asked = pool(artifact, knowledge, targets)
    return asked.scores(ratio(asked.phi, mean_probability(asked.answers)))


def offline(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """From the references without the sample: ((1 + a) p_out + 1 − a) / 2, `a` from the references (section 3.2)."""
    asked = pool(artifact, knowledge, targets)
    return asked.scores(ratio(asked.phi, corrected_probability(asked.answers, slope(asked.answers))))


def ratio(phi: Floats, log_reference: Floats) -> Floats:
    """log p of the audited model less log p of the references, mean over views. Both (n, Q) → (n,)."""
    return np.asarray((log_expit(phi) - log_reference).mean(axis=1))


def mean_probability(answers: Answers) -> Floats:
    """log of the mean p, the two sides counting alike, (n, Q)."""
    inside, outside = log_mean(answers.phi, answers.member), log_mean(answers.phi, ~answers.member)
    all_without, all_with = np.isneginf(inside), np.isneginf(outside)
    both = np.logaddexp(inside, outside) - np.log(2)
    return np.where(all_without, outside, np.where(all_with, inside, both))


def corrected_probability(answers: Answers, a: float) -> Floats:
    """log of ((1 + a) p_out + 1 − a) / 2, (n, Q); with a sample that all references have, p_out of all of them."""
    outside = ~answers.member | np.logical_and.reduce(answers.member)
    rest = np.log1p(-a) if a < 1 else -np.inf
    return np.asarray(np.logaddexp(np.log1p(a) + log_mean(answers.phi, outside), rest) - np.log(2))


def slope(answers: Answers) -> float:
    """`a` of p_in = a p_out + 1 − a, the line through (1, 1), least squares over the references' samples."""
    usable = answers.member.any(axis=0) & ~answers.member.all(axis=0)
    if not usable.any():
        return 0.0
    phi, member = answers.phi[:, usable], answers.member[:, usable]
    missing_in, missing_out = (-np.expm1(log_mean(phi, side)) for side in (member, ~member))
    total = float((missing_out**2).sum())
    return float(np.clip((missing_in * missing_out).sum() / total, 0.0, 1.0)) if total > 0 else 0.0


def log_mean(phi: Floats, chosen: Bools) -> Floats:
    """log of the mean p over the chosen models (K, n), (n, Q); −inf where there is none."""
    count = chosen.sum(axis=0)[:, None]
    with np.errstate(divide="ignore"):
        total = logsumexp(np.where(chosen[:, :, None], log_expit(phi), -np.inf), axis=0)
    return np.asarray(total - np.log(np.maximum(count, 1)))
