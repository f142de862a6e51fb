"""`attribute` and `attribute-white`: who infers the sensitive column from a candidate's answers, or its inner features
(Zhu et al. 2024 adapt SafeCompress to attribute inference so, on attributes that the model is not given)."""

from collections.abc import Sequence

import numpy as np

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.attacks.attribute.learn import Values, learn
from safedeploy.attacks.attribute.withheld import log_probabilities, one_hot
from safedeploy.attacks.base import Floats
from safedeploy.data.samples import Samples, joined
from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.testers.base import Effort, Known, Tester
from safedeploy.roc import auc

LEAST = 10  # samples that hold a value, and that do not, in either half, before the value counts
STRENGTH = {False: 1.0, True: 0.1}  # by whether it looks inside: C of the regression


class AttributeTester(Tester):
    """Logistic regression on the known samples to learn from, members and not, and the mean AUC over the values on
    the others.

    An answer that is right tells of the column what the label tells, so success is what it tells beyond that:
    ½ + ½ · (AUC − label's AUC) / (1 − label's AUC). Less than the label is lost fit, and no privacy.
    """

    def __init__(self, name: str, known: Known, context: Context, effort: Effort, *, white: bool) -> None:
        super().__init__(known, context, effort)
        self.name, self.white = name, white
        self.inner = white
        self.learned = joined(known.members, known.nonmembers)
        self.values, self.held = (_values(name, part) for part in (self.learned, known.judged))
        self.counted = _counted(name, self.values, self.held)
        labels = [one_hot(part.y, context.classes) for part in (self.learned, known.judged)]
        self.floor = max(0.5, self._auc(labels[0], labels[1]))

    def begin(self, artifact: Artifact) -> None:
        if self.white:
            try:
                artifact.unpack()
            except Unopenable as closed:
                raise UserError(f"tester {self.name} cannot look inside: {closed}; use attribute") from None

    def observe(self, artifact: Artifact) -> float:
        known = self.known
        rows = [self._rows(artifact, part) for part in (known.members, known.nonmembers, known.judged)]
        reached = self._auc(np.concatenate(rows[:2]), rows[2])
        return 0.5 + 0.5 * (reached - self.floor) / (1 - self.floor) if self.floor < 1 else 0.5

    def judge(self, observed: Sequence[float]) -> list[float]:
        return list(observed)

    def _rows(self, artifact: Artifact, part: Samples) -> Floats:
        label = one_hot(part.y, self.context.classes)
        if not self.white:
            return np.concatenate([log_probabilities(artifact.logits(part.x)), label], axis=1)
        features = artifact.unpack().features(part.x)
        return np.concatenate([features.penultimate, log_probabilities(features.logits), label], axis=1)

    def _auc(self, learned: Floats, judged: Floats) -> float:
        told = learn(learned, self.values, judged, STRENGTH[self.white])
        place = {value: column for column, value in enumerate(np.unique(self.values).tolist())}
        return float(
            np.mean(
                [
                    auc(told[self.held == value, place[value]], told[self.held != value, place[value]])
                    for value in self.counted
                ]
            )
        )


def make(name: str, known: Known, context: Context, effort: Effort) -> Tester:
    return AttributeTester(name, known, context, effort, white=name == "attribute-white")


def _values(name: str, part: Samples) -> Values:
    if part.sensitive is None:
        raise UserError(f"tester {name} needs a sensitive column: name it with --sensitive COLUMN")
    return part.sensitive


def _counted(name: str, learned: Values, judged: Values) -> list[int]:
    """Values that enough samples of both halves hold, and enough do not."""
    counts = [np.bincount(part, minlength=int(learned.max()) + 1) for part in (learned, judged)]
    counted = [
        value
        for value in range(int(learned.max()) + 1)
        if min(min(count[value], count.sum() - count[value]) for count in counts) >= LEAST
    ]
    if not counted:
        needed = f"{LEAST} known samples in either half that hold a value of the sensitive column"
        raise UserError(f"tester {name} needs {needed}, and as many that do not: give more data, or raise test_samples")
    return counted
