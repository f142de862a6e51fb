"""How far float32 may stray at inputs of a million: rounding passes the extremes check, other weights do not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from safedeploy.export.questions import LARGE, Known, Questions
from safedeploy.export.reference import LAST_BITS, UNIT_ROUNDOFF, torch_answers, torch_rounding
from safedeploy.export.targets import load_target
from safedeploy.export.verify_file import Asked, verify_file

COLUMNS, CLASSES = 64, 3
TARGET = load_target("linux-arm64")
X = np.random.default_rng(0).standard_normal((40, COLUMNS)).astype(np.float32)


def linear(weight: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = torch.from_numpy(weight.astype(np.float32))
    return layer.eval()


@pytest.fixture(scope="module")
def cancelling() -> nn.Linear:
    """The weights of a class nearly cancel: terms of a million add up to some hundred, rounded like millions."""
    weight = np.random.default_rng(1).standard_normal((CLASSES, COLUMNS))
    return linear(weight - weight.mean(axis=1, keepdims=True) + np.array([[2e-6], [-1e-6], [3e-6]]))


def exact(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ layer.weight.detach().numpy().astype(np.float64).T


def backwards(path: Path, layer: nn.Linear, *, largest: float | None = None) -> Path:
    """The same product with its columns in the other order, its inputs perhaps cut off at ±`largest`."""
    order = np.arange(COLUMNS)[::-1].copy()
    weight = layer.weight.detach().numpy().T[order]
    constants = {"w": weight, "order": order}
    nodes = [helper.make_node("Gather", ["x", "order"], ["g"], axis=1)]
    if largest is not None:
        constants |= {"low": np.float32(-largest), "high": np.float32(largest)}
        nodes.append(helper.make_node("Clip", ["g", "low", "high"], ["c"]))
    nodes.append(helper.make_node("MatMul", [nodes[-1].output[0], "w"], ["y"]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 64), ("y", 3))
    ]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "backwards", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def extremes(path: Path, layer: nn.Linear, *, rounding: bool = True) -> tuple[bool | None, str]:
    answer = torch_answers(layer)
    known = Known(answer(X).argmax(1), answer(X), answer, *([torch_rounding(layer)] if rounding else []))
    found = verify_file(path, "float32", Asked(Questions(X, "40 inputs", known), TARGET, CLASSES, lambda path: []))
    outcome = next(one for one in found.outcomes if one.check == "extremes")
    return outcome.passed, outcome.detail


def test_one_product_may_be_off_by_the_last_bits_of_its_weight() -> None:
    bound = LAST_BITS * UNIT_ROUNDOFF * 3 * 7
    assert bound / 2 < torch_rounding(linear(np.array([[3.0]])))(np.full((1, 1), 7, np.float32)) <= bound


def test_terms_that_cancel_leave_their_rounding() -> None:
    """1,000,000 − 1,000,000 is 0, known no better than its terms are."""
    layer, x = linear(np.array([[1.0, -1.0]])), np.full((1, 2), LARGE, np.float32)
    bound = 2 * LAST_BITS * UNIT_ROUNDOFF * LARGE
    assert torch_answers(layer)(x) == 0
    assert bound / 4 < torch_rounding(layer)(x) <= bound


def test_it_grows_with_the_input_and_is_the_same_every_time(cancelling: nn.Linear) -> None:
    rounding = torch_rounding(cancelling)
    assert rounding(X) == rounding(X)
    assert rounding(1000 * X) == pytest.approx(1000 * rounding(X), rel=1e-6)


def test_torch_itself_lies_within_it(cancelling: nn.Linear) -> None:
    for scale in (1, 1e3, 1e6):
        x = (scale * X).astype(np.float32)
        assert np.abs(torch_answers(cancelling)(x) - exact(cancelling, x)).max() < torch_rounding(cancelling)(x)


def test_the_model_is_left_as_it_was_and_one_that_needs_float32_gets_no_more_than_before() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear(np.eye(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.float())

    layer = linear(np.eye(2))
    torch_rounding(layer)(np.ones((1, 2), np.float32))
    assert (layer.weight.dtype, layer.weight.tolist()) == (torch.float32, [[1, 0], [0, 1]])
    assert torch_rounding(Own())(np.ones((1, 2), np.float32)) == 0


def test_a_sound_file_that_adds_in_another_order_passes(cancelling: nn.Linear, tmp_path: Path) -> None:
    """By the share of the largest logit alone it was refused: that logit is what is left of terms of a million."""
    path = backwards(tmp_path / "model.onnx", cancelling)
    assert extremes(path, cancelling, rounding=False)[0] is False
    assert extremes(path, cancelling)[0] is True


def test_a_file_that_cuts_large_inputs_off_is_found(cancelling: nn.Linear, tmp_path: Path) -> None:
    passed, told = extremes(backwards(tmp_path / "model.onnx", cancelling, largest=1e4), cancelling)
    assert passed is False
    assert "is answered otherwise than by torch" in told


@pytest.mark.parametrize("share", [1e-4, -1e-4])
def test_a_file_with_one_weight_off_by_a_ten_thousandth_is_found(
    cancelling: nn.Linear, tmp_path: Path, share: float
) -> None:
    other = linear(cancelling.weight.detach().numpy())
    other.weight.data[0, 5] *= 1 + share
    passed, told = extremes(backwards(tmp_path / "model.onnx", other), cancelling)
    assert passed is False
    assert "is answered otherwise than by torch" in told
