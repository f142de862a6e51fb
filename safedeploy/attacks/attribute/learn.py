"""What is learned of an attribute from rows about people: each value's probability, out of fold and of others."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.base import Floats
from safedeploy.seeds import derive

FOLDS = 5
TREES = 100
LEAST = 1e-4  # probability: an ensemble's 0 is a lack of samples, not a certainty

Learner = Literal["trees", "linear", "network"]
Values = NDArray[np.int64]


def learn(known: Floats, values: Values, targets: Floats, strength: float = 1.0) -> Floats:
    """Logistic regression: log P(value | features) of the targets, (n, V), the values ascending.

    `values` holds every value. strength: the inverse of the penalty on the weights.
    """
    return np.asarray(_linear(strength).fit(known, values).predict_log_proba(targets), dtype=np.float64)


def out_of_fold(
    rows: NDArray[Any],
    values: Values,
    targets: Sequence[NDArray[Any]],
    seed: int,
    learner: Learner = "trees",
    trees: int = TREES,
) -> list[Floats]:
    """log P(value | row), (n, V): of the rows themselves out of fold, then of each of `targets`.

    values: (n,) the rows' own, each value at least FOLDS times.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    state = derive(seed, "imputation") % 2**32
    model = _model(learner, state, trees)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a network that is cut off is no worse a guesser
        parts = [cross_val_predict(model, rows, values, cv=folds, method="predict_proba")]
        model.fit(rows, values)
    parts.extend(model.predict_proba(part) for part in targets)
    return [_log(part) for part in parts]


def _model(learner: Learner, state: int, trees: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if learner == "trees":
        return ExtraTreesClassifier(n_estimators=trees, min_samples_leaf=3, random_state=state)
    if learner == "linear":
        return _linear(0.1)
    network = MLPClassifier((64,), alpha=0.1, max_iter=100, n_iter_no_change=5, tol=1e-3, random_state=state)
    return make_pipeline(StandardScaler(), network)


def _linear(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _log(probabilities: Floats) -> Floats:
    kept = np.maximum(probabilities, LEAST)
    return np.asarray(np.log(kept / kept.sum(axis=1, keepdims=True)))
