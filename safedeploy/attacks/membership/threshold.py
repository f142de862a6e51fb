"""Threshold attacks: a signal against one cut, or one a class (Song & Mittal 2021), set on the attacker's samples."""

from weakref import WeakKeyDictionary

import numpy as np

from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.remember import Remembered
from safedeploy.attacks.base import Knowledge, ScoreFunction, Scores
from safedeploy.attacks.membership import signals
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold

MIN_PER_CLASS = 10  # with fewer known samples on a side, a class keeps the common cut

_kept: WeakKeyDictionary[Artifact, WeakKeyDictionary[Samples, dict[signals.Signal, signals.Floats]]] = (
    WeakKeyDictionary()
)


def _values(signal: signals.Signal, artifact: Artifact, part: Samples) -> signals.Floats:
    """Of an artifact whose answers are kept, computed once for the attack with one cut and that with one a class."""
    if not isinstance(artifact, Remembered):
        return signal(artifact.logits(part.x), part.y)
    values = _kept.setdefault(artifact, WeakKeyDictionary()).setdefault(part, {})
    if signal not in values:
        values[signal] = signal(artifact.logits(part.x), part.y)
    return values[signal]


def _global(signal: signals.Signal) -> ScoreFunction:
    def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
        members, nonmembers, values = (
            _values(signal, artifact, part) for part in (knowledge.members, knowledge.nonmembers, targets)
        )
        return Scores(values.copy(), best_threshold(members, nonmembers))

    return score


def _by_class(signal: signals.Signal) -> ScoreFunction:
    def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
        """Signal minus its class's cut, so that one threshold, 0, serves all classes."""
        members, nonmembers, values = (
            _values(signal, artifact, part) for part in (knowledge.members, knowledge.nonmembers, targets)
        )
        cuts = np.full(artifact.classes, best_threshold(members, nonmembers))
        for label in range(artifact.classes):
            inside = members[knowledge.members.y == label]
            outside = nonmembers[knowledge.nonmembers.y == label]
            if min(inside.size, outside.size) >= MIN_PER_CLASS:
                cuts[label] = best_threshold(inside, outside)
        return Scores(values - cuts[targets.y], 0.0)

    return score


loss, loss_by_class = _global(signals.loss), _by_class(signals.loss)
confidence, confidence_by_class = _global(signals.confidence), _by_class(signals.confidence)
entropy, entropy_by_class = _global(signals.entropy), _by_class(signals.entropy)
modified_entropy, modified_entropy_by_class = _global(signals.modified_entropy), _by_class(signals.modified_entropy)
margin, margin_by_class = _global(signals.margin), _by_class(signals.margin)
