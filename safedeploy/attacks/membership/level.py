"""A model's own bias for a class, taken out of φ: one training is surer of all shirts than the next, members or not.

Left in, that noise is shared by a class's samples and hides what membership adds to each. The bias is a random effect:
the mean deviation of the class's other samples from the references' middle, drawn to zero where they are few.
"""

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.references import Floats

FOLDS = 5  # a sample's own φ has no part in the bias taken off it
PRIOR = 100.0  # samples' worth of zero


def without_class_bias(phi: Floats, middle: Floats, labels: NDArray[np.int64]) -> Floats:
    """phi: (..., n, Q) of any models; middle: (n, Q), between the references with and without; labels: (n,).

    Looks at no membership but the references', in `middle`.
    """
    deviation = phi - middle
    # dealt out class by class, so that each fold's rest holds four fifths of every class
    order = np.argsort(labels, kind="stable")
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    levelled = phi.copy()
    for label in np.unique(labels):
        mine = labels == label
        for part in range(FOLDS):
            others, held = mine & (fold != part), mine & (fold == part)
            bias = deviation[..., others, :].sum(axis=-2, keepdims=True) / (others.sum() + PRIOR)
            levelled[..., held, :] -= bias
    return levelled
