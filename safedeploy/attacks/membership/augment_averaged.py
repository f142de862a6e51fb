"""The loss of an image and of its shifted and mirrored copies, weighed together on known samples."""

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import fitted, queries, signals
from safedeploy.attacks.membership.shifts import shifts
from safedeploy.data.samples import Samples

FARTHEST = 1  # pixels


def features(artifact: Artifact, knowledge: Knowledge, samples: Samples) -> fitted.Floats:
    """(n, copies): the loss of each copy; the first is the image itself. Raises Unopenable where it is no image."""
    steps = [[copy] for copy in shifts(artifact.input_shape, FARTHEST)]
    return queries.averages(artifact, samples, steps, signals.loss)


score = fitted.fitted(features, known=2000)
