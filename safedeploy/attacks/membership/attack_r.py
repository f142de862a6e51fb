"""Attack R (Ye et al. 2022, section 4.3): how rarely a reference without the sample answers it as surely."""

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership.likelihood import seen
from safedeploy.attacks.membership.pool import pool
from safedeploy.attacks.references import Answers, Floats
from safedeploy.data.samples import Samples


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    asked = pool(artifact, knowledge, targets)
    return asked.scores(rarity(asked.phi, asked.answers))


def rarity(phi: Floats, answers: Answers) -> Floats:
    """−log of the share of references without the sample that are surer, (n,), summed over views.

    The share is smoothed by a normal kernel of Scott's width, as K models alone would tie most samples.
    """
    outside = ~answers.member | np.logical_and.reduce(answers.member)  # a sample that all have is compared with all
    side = seen(answers.phi, outside)
    width = np.sqrt(side.raw) * side.count**-0.2
    surer = stats.norm.logsf((phi - answers.phi) / width)
    shares = logsumexp(np.where(outside[:, :, None], surer, -np.inf), axis=0) - np.log(side.count)
    return np.asarray(-shares.sum(axis=1))
