"""What a file answers when each value of the sensitive column is put into a sample (Fredrikson et al. 2015)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.attribute.column import Sensitive
from safedeploy.attacks.base import Floats
from safedeploy.data.samples import Samples

ROWS = 4096  # asked at a time: of the answers only three figures a value are kept


@dataclass(frozen=True, eq=False)
class Answers:
    """For n samples and V values put in, each (n, V).

    log_p: log-probability of the sample's label. phi: log p − log(1 − p) of it. top: log of the largest probability.
    right: whether the label is the prediction.
    """

    log_p: Floats
    phi: Floats
    top: Floats
    right: NDArray[np.bool_]


def ask(
    artifact: Artifact, sensitive: Sensitive, samples: Samples, progress: Callable[[float], None] | None = None
) -> Answers:
    """n · V queries, in bounded memory. The artifact should not remember what it was asked (`remember.py`)."""
    count, values = len(samples.y), len(sensitive.names)
    log_p, phi, top = (np.empty((count, values)) for _ in range(3))
    right = np.empty((count, values), dtype=bool)
    for start in range(0, count, ROWS):
        rows = slice(start, start + ROWS)
        x, y = samples.x[rows], samples.y[rows]
        each = np.arange(len(y))
        for value in range(values):
            logits = artifact.logits(sensitive.put(x, value)).astype(np.float64)
            right[rows, value] = logits.argmax(axis=1) == y
            total = logsumexp(logits, axis=1)
            log_p[rows, value], top[rows, value] = logits[each, y] - total, logits.max(axis=1) - total
            own = logits[each, y]
            logits[each, y] = -np.inf
            phi[rows, value] = own - logsumexp(logits, axis=1)
        if progress:
            progress(min(1.0, (start + ROWS) / count))
    return Answers(log_p, phi, top, right)
