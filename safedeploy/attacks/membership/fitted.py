"""An attacker fitted on known samples' features: boosted trees (Friedman 2001), cross-fitted, without torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, ScoreFunction, Scores
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold
from safedeploy.seeds import derive, numpy_generator

Floats = NDArray[np.float64]
Features = Callable[[Artifact, Knowledge, Samples], Floats]  # (n, columns) of the samples

FOLDS = 5
KNOWN = 2000  # samples a side to learn from: more cost queries and bring little


def fitted(features: Features, *, known: int = KNOWN) -> ScoreFunction:
    """The log odds of 'member' by trees on `features` and label; known samples the trees did not see set the cut."""

    def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
        sides = some(knowledge, known)
        inside, outside, wanted = (
            np.column_stack([features(artifact, knowledge, part), part.y])
            for part in (sides.members, sides.nonmembers, targets)
        )
        members, nonmembers, values = cross_fitted(inside, outside, wanted, knowledge.seed)
        return Scores(values, best_threshold(members, nonmembers))

    return score


def some(knowledge: Knowledge, most: int) -> Knowledge:
    """At most `most` of the known samples a side, drawn by seed; a side within that is the very same object."""
    sides = []
    for side in (knowledge.members, knowledge.nonmembers):
        if len(side.y) > most:
            side = side.at(numpy_generator(knowledge.seed, "some").permutation(len(side.y))[:most])
        sides.append(side)
    return Knowledge(sides[0], sides[1], knowledge.seed, knowledge.references)


def cross_fitted(members: Floats, nonmembers: Floats, wanted: Floats, seed: int) -> tuple[Floats, Floats, Floats]:
    """Log odds of the known members and non-members, each by trees fitted without its own fold, and of `wanted`.

    Those of `wanted` are the mean over the folds' trees.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = np.concatenate([members, nonmembers])
    truth = np.repeat([1, 0], [len(members), len(nonmembers)])
    fold_of = np.concatenate([folds(len(side), seed) for side in (members, nonmembers)])
    held_out, answers = np.zeros(len(known)), np.zeros(len(wanted))
    for fold in range(FOLDS):
        learns = fold_of != fold
        trees = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=200,
            max_leaf_nodes=4,
            min_samples_leaf=min(20, max(2, len(known) // 20)),
            early_stopping=False,
            random_state=derive(seed, "trees", fold) % 2**32,
        )
        trees.fit(known[learns], truth[learns])
        if not learns.all():
            held_out[~learns] = trees.decision_function(known[~learns])
        answers += trees.decision_function(wanted) / FOLDS
    return held_out[truth == 1], held_out[truth == 0], answers


def folds(count: int, seed: int) -> NDArray[np.int64]:
    """Which of FOLDS folds each of `count` samples is in: as equally as can be, drawn by seed."""
    return numpy_generator(seed, "folds").permutation(count) % FOLDS
