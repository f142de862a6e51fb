"""Robustness to noise from labels alone (Choquette-Choo et al. 2021, section 4.2; Li & Zhang 2021): how often noisy
copies keep the right label, at several strengths, weighed together on known samples."""

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import fitted, queries
from safedeploy.attacks.membership.noise import noise, unchanged
from safedeploy.data.samples import Samples

COPIES = 40  # a strength


def features(artifact: Artifact, knowledge: Knowledge, samples: Samples) -> fitted.Floats:
    """(n, 1 + strengths): the share of copies answered right, of the input itself and then at each strength."""
    steps: list[list[queries.Change]] = [[unchanged], *noise(knowledge, COPIES)]
    return queries.averages(artifact, samples, steps, queries.right)


score = fitted.fitted(features, known=1000)
