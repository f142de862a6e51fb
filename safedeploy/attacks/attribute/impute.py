"""Guessing the sensitive column from the other inputs and the label alone, without any model (Jayaraman & Evans 2022).

What a file is said to give away is what an attack adds to this guess: without it an attack proves nothing.
"""

from collections.abc import Sequence

import numpy as np

from safedeploy.artifacts.base import Array
from safedeploy.attacks.attribute.column import Sensitive, Values
from safedeploy.attacks.attribute.learn import out_of_fold
from safedeploy.attacks.base import Floats
from safedeploy.data.samples import Samples


def impute(
    sensitive: Sensitive, known: Samples, values: Values, targets: Sequence[Samples], classes: int, seed: int
) -> list[Floats]:
    """log P(value | other inputs, label), (n, V): of the known samples out of fold, then of each of `targets`.

    values: (n,) the known samples', each value at least `learn.FOLDS` times. Extremely randomised trees, as the blind
    control.
    """
    rows, *others = (_rows(sensitive, part, classes) for part in (known, *targets))
    return out_of_fold(rows, values, others, seed)


def _rows(sensitive: Sensitive, samples: Samples, classes: int) -> Array:
    label = np.eye(classes, dtype=np.float32)[samples.y]
    return np.concatenate([sensitive.hide(samples.x), label], axis=1)
