"""Artifacts made of plain functions, and sets of samples whose membership is known."""

from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest

from safedeploy.artifacts.base import Features, Unopenable
from safedeploy.attacks.base import Knowledge
from safedeploy.data.samples import Samples

CLASSES, COLUMNS = 4, 6


class Function:
    """An artifact whose answers are `answer(x)`, and whose white box, if any, shows `inner(x)` before the last layer.

    `answer` and `inner` take (n, columns) and give (n, classes) and (n, d), row by row.
    """

    format = "onnx"

    def __init__(self, answer, inner=None, name="function", classes=CLASSES, columns=COLUMNS):
        self.answer, self.inner, self.name = answer, inner, name
        self.classes, self.input_shape = classes, (columns,)

    def logits(self, x):
        return self.answer(x).astype(np.float32)

    def unpack(self):
        if self.inner is None:
            raise Unopenable("a function hides its inside")
        return self

    def features(self, x):
        return Features(self.logits(x), self.inner(x).astype(np.float32))


def samples(count, seed, classes=CLASSES, columns=COLUMNS):
    """`count` samples of one distribution, every class equally often."""
    x = np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)
    return Samples(x, np.arange(count) % classes)


def quarters(count, seed=0):
    """Known members, known non-members, and as many of each to be judged: (knowledge, members, nonmembers)."""
    known_in, known_out, judged_in, judged_out = (samples(count, [seed, part]) for part in range(4))
    return Knowledge(known_in, known_out, seed), judged_in, judged_out


def together(first, second):
    return Samples(np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y]))


def memoriser(*members):
    """Sure and right on what it was trained on, unsure and random on everything else."""
    known = {row.tobytes(): label for side in members for row, label in zip(side.x, side.y, strict=True)}

    def of_row(row):
        logits = np.random.default_rng(crc32(row.tobytes())).normal(size=CLASSES)
        if row.tobytes() in known:
            logits[known[row.tobytes()]] += 12
        return logits

    def answer(x):
        return np.stack([of_row(row) for row in np.ascontiguousarray(x)])

    return Function(answer, inner=lambda x: np.tanh(x))


def honest():
    """Answers from the input alone: members are to it what non-members are."""
    weight = np.random.default_rng(7).normal(size=(COLUMNS, CLASSES))
    return Function(lambda x: x @ weight, inner=lambda x: np.maximum(x, 0))


@pytest.fixture(scope="session")
def made():
    functions = (Function, samples, quarters, together, memoriser, honest)
    return SimpleNamespace(**{function.__name__: function for function in functions})
