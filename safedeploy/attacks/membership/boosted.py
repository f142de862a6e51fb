"""A classifier of answers (Salem et al. 2019, adversary 1, on known samples): trees on loss, margin, top answers.

What a threshold cannot say: a model trained to its end is often surer of easy strangers than of its own examples.
"""

import numpy as np
from scipy.special import log_softmax

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import fitted, signals
from safedeploy.data.samples import Samples

TOP = 5


def features(artifact: Artifact, knowledge: Knowledge, samples: Samples) -> fitted.Floats:
    """(n, 2 + top): loss, margin, and the largest log-probabilities in falling order."""
    logits = artifact.logits(samples.x)
    falling = np.sort(log_softmax(logits.astype(np.float64), axis=1), axis=1)[:, ::-1][:, :TOP]
    return np.column_stack([signals.loss(logits, samples.y), signals.margin(logits, samples.y), falling])


score = fitted.fitted(features, known=10_000)
