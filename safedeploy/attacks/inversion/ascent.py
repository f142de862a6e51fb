"""From the average input uphill in each class's score, held by the prior (Fredrikson et al. 2015, algorithm 1)."""

from collections.abc import Callable

import numpy as np

from safedeploy.artifacts.base import Array
from safedeploy.attacks.inversion.gradient import Gradient
from safedeploy.attacks.inversion.prior import Prior

STEPS = 100
RATE = 0.1


def invert(
    gradient: Gradient,
    prior: Prior,
    classes: int,
    steps: int = STEPS,
    progress: Callable[[float], None] | None = None,
) -> Array:
    """One input a class, (classes, *input_shape), as the model takes it, inside the prior's range.

    With x in deviations from the mean, every step moves x by RATE of slope / its root mean square − x. It rests where
    the slope of φ points along x at the length of a typical input, whatever the scale of the file's answers.
    """
    x = np.zeros((classes, *prior.mean.shape))
    low, high = ((bound - prior.mean) / prior.deviation for bound in (prior.low, prior.high))
    axes = tuple(range(1, x.ndim))
    for step in range(steps):
        slope = gradient(x, step)
        size = np.sqrt(np.square(slope).mean(axis=axes, keepdims=True))
        x = np.clip(x + RATE * (slope / np.maximum(size, 1e-12) - x), low, high)
        if progress:
            progress((step + 1) / steps)
    return prior.inputs(x)
