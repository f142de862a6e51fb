"""Attack P (Ye et al. 2022, section 4.2): how rarely the model answers a sample of the population as surely.

One cut for all samples, so its ROC curve is the loss attack's; what it adds is a score that reads as a p-value.
"""

import numpy as np

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import Floats
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """−log p-value against the known non-members."""
    members, population, wanted = (
        scaled_logit(artifact.logits(part.x), part.y) for part in (knowledge.members, knowledge.nonmembers, targets)
    )
    return Scores(
        rarity(wanted, population), best_threshold(rarity(members, population), rarity(population, population))
    )


def rarity(phi: Floats, population: Floats) -> Floats:
    """−log of the share of the population at or above φ, (n,): straight between its values, so that nothing ties.

    Beyond the largest and the smallest it goes on by a step a standard deviation, as an exponential tail does.
    """
    at, counts = np.unique(population, return_counts=True)
    above = population.size - np.cumsum(counts) + counts
    level = -np.log(above / (population.size + 1))
    deviation = max(float(population.std()), np.finfo(np.float64).tiny ** 0.5)
    beyond = np.maximum(phi - at[-1], 0) + np.minimum(phi - at[0], 0)
    return np.asarray(np.interp(phi, at, level) + beyond / deviation)
