"""Saturation: shares counted by hand, a ReLU's zeros are none, inputs beyond the calibrated show in both formats."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from safedeploy.artifacts.base import Unopenable
from safedeploy.export.saturation import saturation


def quantised(path: Path, scale: float, zero_point: int, kind: type[np.integer] = np.int8) -> Path:
    """x (n, 4) → x · identity, rounded on the way in and on the way out."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("MatMul", ["xd", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(scale), "s"),
        numpy_helper.from_array(kind(zero_point), "z"),
        numpy_helper.from_array(2 * np.eye(4, dtype=np.float32), "w"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "logits")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_shares_are_those_counted_by_hand(tmp_path: Path) -> None:
    """Steps of 0.1, so ±12.7 at most: of 8 inputs 1 lies beyond; doubled, what was cut to 12.7 and 9 do."""
    x = np.array([[1, 2, 3, 20], [0, 0, 9, 0]], dtype=np.float32)
    found = saturation(quantised(tmp_path / "m.onnx", 0.1, 0), x)
    assert (found.samples, found.tensors) == (2, 2)
    assert (found.worst, found.worst_share, found.logits) == ("y", 2 / 8, 2 / 8)
    assert found.activations == (1 + 2) / 16


def test_a_value_within_a_step_of_the_range_is_only_rounded(tmp_path: Path) -> None:
    x = np.array([[6.3, 6.35, 6.4, -6.4]], dtype=np.float32)
    assert saturation(quantised(tmp_path / "m.onnx", 0.1, 0), x).activations == 0


@pytest.mark.parametrize(("kind", "zero_point"), [(np.int8, -128), (np.uint8, 0)])
def test_below_a_range_that_begins_at_0_lie_a_relus_zeros(tmp_path: Path, kind, zero_point: int) -> None:
    x = np.array([[-5, -50, 1, 2]], dtype=np.float32)
    assert saturation(quantised(tmp_path / "m.onnx", 0.1, zero_point, kind), x).activations == 0


@pytest.mark.parametrize("name", ["model.int8.onnx", "model.int8.pte"])
def test_what_an_export_calibrated_on_fits_and_thrice_that_does_not(exported, trained, name: str) -> None:
    """The input is the worst: it clips what lies outside the smallest and largest value it was calibrated with."""
    x = trained.x[:64]
    calibrated, beyond = saturation(exported.folder / name, x), saturation(exported.folder / name, 3 * x)
    assert calibrated.activations < 0.001
    outside = ((3 * x < x.min()) | (3 * x > x.max())).mean()
    assert beyond.worst_share == pytest.approx(outside, abs=0.02)
    assert beyond.activations > calibrated.activations + 0.01
    assert calibrated.logits is not None


@pytest.mark.parametrize("name", ["model.onnx", "model.pte"])
def test_a_file_that_rounds_nothing_says_so(exported, trained, name: str) -> None:
    with pytest.raises(Unopenable, match="rounds no activation"):
        saturation(exported.folder / name, trained.x[:8])


def test_a_relu_behind_an_addition_clips_nothing_in_a_pte(tmp_path: Path) -> None:
    """A residual block's end, on the inputs it was calibrated with: half of what is added up lies below 0."""
    import torch
    from torch import nn

    from safedeploy.export.executorch import export_int8_pte
    from safedeploy.export.targets import Quantisation

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.last = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(x + self.convolution(x)).flatten(1))

    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((32, 2, 4, 4)).astype(np.float32)
    path = tmp_path / "block.pte"
    export_int8_pte(Block().eval(), (2, 4, 4), path, x, Quantisation(), model_name="block")
    assert saturation(path, x).activations < 0.001
