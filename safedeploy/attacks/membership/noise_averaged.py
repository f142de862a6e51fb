"""Loss and margin averaged over noisy copies, strength by strength, and weighed together on known samples."""

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import fitted, queries, signals
from safedeploy.attacks.membership.noise import noise, unchanged
from safedeploy.data.samples import Samples

COPIES = 4  # a strength


def features(artifact: Artifact, knowledge: Knowledge, samples: Samples) -> fitted.Floats:
    """(n, 2 · (1 + strengths)): mean loss and mean margin, of the input itself and then at each strength."""
    steps: list[list[queries.Change]] = [[unchanged], *noise(knowledge, COPIES)]
    return queries.averages(artifact, samples, steps, signals.loss, signals.margin)


score = fitted.fitted(features, known=1000)
