"""Guessing the sensitive column from the other inputs and the label alone, without any model (Jayaraman & Evans 2022).

What a file is said to give away is what an attack adds to this guess: without it an attack proves nothing.
"""

from collections.abc import Sequence

import numpy as np

from safedeploy.artifacts.base import Array
from safedeploy.attacks.attribute.column import Sensitive, Values
from safedeploy.attacks.base import Floats
from safedeploy.data.samples import Samples
from safedeploy.seeds import derive

FOLDS = 5
TREES = 100
LEAST = 1e-4  # probability: an ensemble's 0 is a lack of samples, not a certainty


def impute(
    sensitive: Sensitive, known: Samples, values: Values, targets: Sequence[Samples], classes: int, seed: int
) -> list[Floats]:
    """log P(value | other inputs, label), (n, V): of the known samples out of fold, then of each of `targets`.

    values: (n,) the known samples', each value at least FOLDS times. Extremely randomised trees, as the blind control.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    state = derive(seed, "imputation") % 2**32
    trees = ExtraTreesClassifier(n_estimators=TREES, min_samples_leaf=3, random_state=state)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=state)
    rows = _rows(sensitive, known, classes)
    parts = [cross_val_predict(trees, rows, values, cv=folds, method="predict_proba")]
    trees.fit(rows, values)
    parts.extend(trees.predict_proba(_rows(sensitive, part, classes)) for part in targets)
    return [_log(part) for part in parts]


def _rows(sensitive: Sensitive, samples: Samples, classes: int) -> Array:
    label = np.eye(classes, dtype=np.float32)[samples.y]
    return np.concatenate([sensitive.hide(samples.x), label], axis=1)


def _log(probabilities: Floats) -> Floats:
    kept = np.maximum(probabilities, LEAST)
    return np.asarray(np.log(kept / kept.sum(axis=1, keepdims=True)))
