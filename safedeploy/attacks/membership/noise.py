"""Random changes of inputs in several strengths: Gaussian noise, or for table rows the values of other known rows."""

import numpy as np

from safedeploy.artifacts.base import Array
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership.queries import Change
from safedeploy.seeds import numpy_generator

DEVIATIONS = (0.03, 0.1, 0.3, 1.0)  # of the noise, in deviations of the known inputs
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)  # of the columns that are replaced


def noise(knowledge: Knowledge, copies: int) -> list[list[Change]]:
    """For each strength, from weak to strong, `copies` changes: drawn by the seed, and the same for every sample.

    A table's columns are replaced by what other known rows hold there, so that a count stays a count and a 0 or 1 one.
    Strengths span what any artifact can see: what is below the step of an int8 input at one is well above at another.
    """
    known = np.concatenate([knowledge.members.x, knowledge.nonmembers.x])
    if known.ndim == 2:
        return [[_replacing(known, share, knowledge.seed, copy) for copy in range(copies)] for share in SHARES]
    spread = float(known.std())
    return [[adding(part * spread, knowledge.seed, copy) for copy in range(copies)] for part in DEVIATIONS]


def unchanged(x: Array) -> Array:
    return x


def adding(deviation: float, seed: int, copy: int) -> Change:
    def change(x: Array) -> Array:
        drawn = numpy_generator(seed, "noise", copy).standard_normal(x.shape[1:], dtype=np.float32)
        return x + np.float32(deviation) * drawn

    return change


def _replacing(known: Array, share: float, seed: int, copy: int) -> Change:
    def change(x: Array) -> Array:
        generator, columns = numpy_generator(seed, "replaced", copy), x.shape[1]
        replaced = generator.random(columns) < share
        return np.where(replaced, known[generator.integers(len(known), size=columns), np.arange(columns)], x)

    return change
