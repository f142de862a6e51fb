"""Robustness to augmentation from labels alone (Choquette-Choo et al. 2021, section 4.1): which shifted and mirrored
copies of an image keep the right label, weighed together on known samples."""

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import fitted, queries
from safedeploy.attacks.membership.shifts import shifts
from safedeploy.data.samples import Samples

FARTHEST = 2  # pixels


def features(artifact: Artifact, knowledge: Knowledge, samples: Samples) -> fitted.Floats:
    """(n, copies): 1 where the copy is answered right, else 0. Raises Unopenable where the input is no image."""
    steps = [[copy] for copy in shifts(artifact.input_shape, FARTHEST)]
    return queries.averages(artifact, samples, steps, queries.right)


score = fitted.fitted(features, known=2000)
