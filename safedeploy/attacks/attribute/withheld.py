"""Attribute inference where the model never saw the attribute: what its answers (black box) or its inner features
(white box) about a person tell of it, as SafeCompress adapts to it (Zhu et al. 2024; Song & Shmatikov 2020,
'Overlearning reveals sensitive attributes').

Answers are made of the inputs, so what the inputs alone tell of the attribute is no doing of the model. An attacker who
holds the inputs is held against the inputs and the label, one who sees answers alone against the label: what an answer
that is right has to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.attacks.attribute.guess import AttributeAttack
from safedeploy.attacks.attribute.learn import Learner, Values, learn, out_of_fold
from safedeploy.attacks.base import Floats
from safedeploy.data.samples import Samples

BLIND: tuple[Learner, ...] = ("trees", "linear", "network")
TREES = 50  # of an ensemble: it is one of several learners
SURE = -20.0  # log-probabilities below it are the runtime's rounding


@dataclass(frozen=True, eq=False)
class Seen:
    """n people as the attacker meets them.

    label: (n, classes) one-hot. x: (n, d) the inputs, flattened. blind: (n, …) log-probabilities of the values by
    inputs and label alone. outputs: (n, classes) log-probabilities that the file answers. features: (n, d) its inner
    ones, or None where it does not open. seed: of the learners.
    """

    label: Floats
    x: Array
    blind: Floats
    outputs: Floats
    features: Array | None
    seed: int


def label_alone(known: Seen, values: Values, targets: Seen) -> Floats:
    """The baseline of one who holds no inputs."""
    return learn(known.label, values, targets.label)


def inputs_alone(known: Seen, values: Values, targets: Seen) -> Floats:
    """The blind baseline: inputs and label, and never the model."""
    return learn(known.blind, values, targets.blind)


def outputs(known: Seen, values: Values, targets: Seen) -> Floats:
    """The file's answers and the label."""
    return _beside_label(known, values, targets, (_answers(known), _answers(targets)))


def features(known: Seen, values: Values, targets: Seen) -> Floats:
    """The file's inner features and answers, and the label."""
    return _beside_label(known, values, targets, (_inner(known), _inner(targets)))


def outputs_and_inputs(known: Seen, values: Values, targets: Seen) -> Floats:
    """The blind guess, the file's answers, and both beside the inputs for what only shows together."""
    return _beside_inputs(known, values, targets, (_answers(known), _answers(targets)))


def features_and_inputs(known: Seen, values: Values, targets: Seen) -> Floats:
    """The same with the file's inner features."""
    return _beside_inputs(known, values, targets, (_inner(known), _inner(targets)))


WITHHELD_ATTACKS = (
    AttributeAttack("attribute-outputs", outputs, over="label"),
    AttributeAttack("attribute-features", features, access="white", over="label"),
    AttributeAttack("attribute-outputs-inputs", outputs_and_inputs),
    AttributeAttack("attribute-features-inputs", features_and_inputs, access="white"),
)


def blind(known: Samples, values: Values, targets: Sequence[Samples], classes: int, seed: int) -> list[Floats]:
    """What inputs and label tell, (n, V · learners): of the known samples out of fold, then of each of `targets`.

    Three learners of unlike kinds, so that the file gets no credit for what one of them cannot learn.
    """
    rows, *others = (np.concatenate([flat(part.x), one_hot(part.y, classes)], axis=1) for part in (known, *targets))
    told = [out_of_fold(rows, values, others, seed, learner, TREES) for learner in BLIND]
    return [np.concatenate(parts, axis=1) for parts in zip(*told, strict=True)]


def seen(artifact: Artifact, samples: Samples, blind_guess: Floats, seed: int, *, white: bool) -> Seen:
    """`white`: whether the file opens."""
    answers = log_probabilities(artifact.logits(samples.x))
    inner = artifact.unpack().features(samples.x).penultimate if white else None
    return Seen(one_hot(samples.y, artifact.classes), flat(samples.x), blind_guess, answers, inner, seed)


def log_probabilities(logits: Array) -> Floats:
    """(n, classes), at least SURE."""
    return np.maximum(np.asarray(log_softmax(logits.astype(np.float64), axis=1), np.float64), SURE)


def one_hot(labels: NDArray[np.int64], classes: int) -> Floats:
    return np.eye(classes)[labels]


def flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _answers(side: Seen) -> Floats:
    return np.concatenate([side.outputs, side.label], axis=1)


def _inner(side: Seen) -> Floats:
    assert side.features is not None
    return np.concatenate([side.features, side.outputs, side.label], axis=1)


def _beside_label(known: Seen, values: Values, targets: Seen, rows: tuple[Floats, Floats]) -> Floats:
    linear = out_of_fold(rows[0], values, rows[1:], known.seed, "linear")
    trees = out_of_fold(rows[0], values, rows[1:], known.seed, trees=TREES)
    return _joined((known.label, linear[0], trees[0]), values, (targets.label, linear[1], trees[1]))


def _beside_inputs(known: Seen, values: Values, targets: Seen, rows: tuple[Floats, Floats]) -> Floats:
    both = [np.concatenate([side.x, part], axis=1) for side, part in zip((known, targets), rows, strict=True)]
    linear = out_of_fold(rows[0], values, rows[1:], known.seed, "linear")
    trees = out_of_fold(both[0], values, both[1:], known.seed, trees=TREES)
    return _joined((known.blind, linear[0], trees[0]), values, (targets.blind, linear[1], trees[1]))


def _joined(known: Sequence[Floats], values: Values, targets: Sequence[Floats]) -> Floats:
    return learn(np.concatenate(known, axis=1), values, np.concatenate(targets, axis=1))
