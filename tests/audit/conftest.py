"""Artifacts made of plain functions, exams over samples of one distribution, and evidence made by hand."""

from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
from scipy.special import softmax

from safedeploy.artifacts.base import Features, Inner, Unopenable
from safedeploy.attacks.base import Knowledge
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples
from safedeploy.results import ArtifactInfo, AttackEvidence, Curve, Histogram, TprAtFpr

CLASSES, COLUMNS = 4, 6
CENTRES = np.random.default_rng(7).normal(size=(CLASSES, COLUMNS))
INFO = ArtifactInfo(path="model.onnx", sha256="0" * 64, format="onnx", size_bytes=100, zip_bytes=50)


class Function:
    """An artifact whose answers are `answer(x)`; with `hidden` it has a white box too."""

    format = "onnx"
    classes, input_shape = CLASSES, (COLUMNS,)

    def __init__(self, answer, hidden=None, name="model.onnx"):
        self.answer, self.hidden, self.name, self.asked = answer, hidden, name, 0

    def logits(self, x):
        self.asked += len(x)
        return self.answer(x).astype(np.float32)

    def unpack(self):
        if self.hidden is None:
            raise Unopenable("the format hides its weights")
        return self

    def features(self, x):
        return Features(self.answer(x).astype(np.float32), self.hidden(x).astype(np.float32))

    def inner(self, x, y):
        """One linear layer on the hidden values: its gradient is (p − onehot) ⊗ (hidden, 1)."""
        logits, hidden = self.answer(x).astype(np.float32), self.hidden(x).astype(np.float64)
        error = softmax(logits.astype(np.float64), axis=1) - np.eye(CLASSES)[y]
        norms = np.linalg.norm(error, axis=1) * np.sqrt((hidden**2).sum(1) + 1)
        return Inner(("last",), (logits,), norms[:, None])


def samples(count, seed, shift=0.0):
    labels = np.arange(count) % CLASSES
    x = np.random.default_rng(seed).normal(size=(count, COLUMNS)) + CENTRES[labels]
    return Samples(x.astype(np.float32) + np.float32(shift), labels)


def exam(count=200, seed=0, shift=0.0, test=None):
    """Members and non-members of one distribution, the latter moved by `shift`."""
    known_in, judged_in = samples(count, [seed, 0]), samples(count, [seed, 1])
    known_out, judged_out = samples(count, [seed, 2], shift), samples(count, [seed, 3], shift)
    names = tuple(f"class {label}" for label in range(CLASSES))
    return Exam(Knowledge(known_in, known_out, seed), judged_in, judged_out, names, test)


def rows(part):
    return {row.tobytes() for row in np.ascontiguousarray(part.x)}


def memoriser(*sides):
    """Right and sure on `sides`; elsewhere a guess."""
    known = {row.tobytes(): label for side in sides for row, label in zip(side.x, side.y, strict=True)}

    def of_row(row):
        logits = np.random.default_rng(crc32(row.tobytes())).normal(size=CLASSES)
        if row.tobytes() in known:
            logits[known[row.tobytes()]] += 12
        return logits

    return Function(lambda x: np.stack([of_row(row) for row in np.ascontiguousarray(x)]), hidden=np.tanh)


def honest():
    """The right classifier of these samples, whoever was trained on."""
    return Function(lambda x: x @ CENTRES.T - (CENTRES**2).sum(1) / 2, hidden=lambda x: np.maximum(x, 0))


def guessing():
    """A classifier of other samples: right by chance."""
    weight = np.random.default_rng(3).normal(size=(COLUMNS, CLASSES))
    return Function(lambda x: x @ (weight - weight.mean(1, keepdims=True)), hidden=np.tanh)


def rate(fpr=0.01, tpr=0.0, low=0.0, high=0.005, null_high=0.02, resolvable=True):
    return TprAtFpr(
        fpr=fpr,
        tpr=tpr,
        low=low,
        high=high,
        realised_fpr=fpr,
        true_positives=round(1000 * tpr),
        false_positives=round(1000 * fpr),
        null_high=null_high,
        resolvable=resolvable,
    )


def attack_evidence(name="loss", auc=0.5, low=0.48, high=0.52, tpr=()):
    return AttackEvidence(
        name=name,
        access="black",
        auc=auc,
        auc_low=low,
        auc_high=high,
        balanced_accuracy=0.5,
        balanced_accuracy_low=0.48,
        balanced_accuracy_high=0.52,
        tpr=list(tpr),
        roc=Curve(fpr=[0, 1], tpr=[0, 1]),
        histogram=Histogram(edges=[0, 1], members=[1], nonmembers=[1]),
        per_class=[],
    )


@pytest.fixture(scope="session")
def made():
    functions = (Function, samples, exam, rows, memoriser, honest, guessing, rate, attack_evidence)
    return SimpleNamespace(**{function.__name__: function for function in functions}, info=INFO)
