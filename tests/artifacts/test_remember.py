"""Ten attacks on the same samples share one forward pass."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from safedeploy.artifacts.base import Array, Unopenable
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.remember import remember

Build = Callable[..., Path]


def test_an_array_is_asked_about_once(build: Build, linear: SimpleNamespace) -> None:
    asked = []

    class Counted(OnnxArtifact):
        def logits(self, x: Array) -> Array:
            asked.append(len(x))
            return super().logits(x)

    artifact = remember(Counted(build(linear.nodes, linear.weights)))
    x, twin = np.ones((4, 6), dtype=np.float32), np.ones((4, 6), dtype=np.float32)
    assert artifact.logits(x) is artifact.logits(x)
    artifact.logits(twin)
    assert asked == [4, 4]
    white_box = artifact.unpack()
    assert artifact.unpack() is white_box
    assert white_box.features(x) is white_box.features(x)
    assert remember(artifact) is artifact
    assert (artifact.name, artifact.format, artifact.classes, artifact.input_shape) == ("model.onnx", "onnx", 3, (6,))


def test_arrays_that_come_and_go_are_not_mixed_up(build: Build, linear: SimpleNamespace) -> None:
    plain = OnnxArtifact(build(linear.nodes, linear.weights))
    artifact = remember(plain)
    for value in range(50):
        expected = plain.logits(np.full((1, 6), value, dtype=np.float32))
        np.testing.assert_array_equal(artifact.logits(np.full((1, 6), value, dtype=np.float32)), expected)


def test_a_closed_white_box_stays_closed(build: Build) -> None:
    path = build([helper.make_node("Identity", ["x"], ["y"])], outputs={"y": (TensorProto.FLOAT, ["n", 6])})
    artifact = remember(OnnxArtifact(path))
    for _ in range(2):
        with pytest.raises(Unopenable, match="no linear layer"):
            artifact.unpack()


def test_a_module_answers_black_and_white_from_one_pass() -> None:
    from torch import nn

    from safedeploy.artifacts.torch import TorchArtifact

    passes = []
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    artifact = remember(TorchArtifact(model, "m", (6,), 3))
    white_box = artifact.unpack()
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    x = np.ones((20, 6), dtype=np.float32)
    assert white_box.features(x).logits is artifact.logits(x)
    assert len(passes) == 1
