"""int8 ONNX files whose scales have few bits: rounded up, few different, zeros exact, answers still near."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.export.encoding.encode import encode_model
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation
from safedeploy.export.weight_scales import rounded_up

SHAPE = (16, 4, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(16, 1024, 1)
        self.second = nn.Conv2d(1024, 1024, 3, groups=1024)
        self.last = nn.Linear(1024, 6)
        self.first.weight.data[torch.rand(self.first.weight.shape) < 0.5] = 0
        self.first.weight.data[7] = 0  # a channel that was pruned away

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(x.mean((2, 3)))


def constants(path: Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx, ours.onnx, and stock.onnx with the scales ONNX Runtime's quantiser finds."""
    folder = tmp_path_factory.mktemp("scales")
    export_onnx(Net().eval(), SHAPE, folder / "model.onnx", opset=20, model_name="net")
    quantise_onnx(folder / "model.onnx", folder / "ours.onnx", inputs(), Quantisation())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("safedeploy.export.onnx_int8.weight_scales", lambda *_: {})
        quantise_onnx(folder / "model.onnx", folder / "stock.onnx", inputs(), Quantisation())
    return folder


def inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(256, *SHAPE)).astype(np.float32)


@given(scale=st.floats(2.0**-60, 2.0**60, width=32), bits=st.integers(1, 12))
def test_a_scale_is_rounded_up_to_its_bits(scale: float, bits: int) -> None:
    value = np.array([scale], np.float32)
    rounded = rounded_up(value, bits)
    mantissa, _ = np.frexp(rounded)
    assert mantissa * 2**bits == np.rint(mantissa * 2**bits)
    assert 1 <= rounded[0].astype(np.float64) / value[0] <= 1 + 2.0 ** (1 - bits)
    np.testing.assert_array_equal(rounded_up(rounded, bits), rounded)


def test_a_layers_channels_share_few_scales(files: Path) -> None:
    ours, stock = constants(files / "ours.onnx"), constants(files / "stock.onnx")
    assert ours.keys() == stock.keys()
    for layer in ("first", "second", "last"):
        name = next(name for name in ours if name.startswith(layer) and name.endswith("weight_scale"))
        assert (ours[name] >= stock[name] * (1 - 1e-6)).all()
        assert (ours[name] <= stock[name] * (1 + 1 / 16)).all()
        if layer != "last":
            assert len(np.unique(ours[name])) <= 64 < 900 < len(np.unique(stock[name]))


def test_zeros_stay_zeros_and_no_weight_is_clipped(files: Path) -> None:
    float32, ours = constants(files / "model.onnx"), constants(files / "ours.onnx")
    for name in ("first.weight", "second.weight", "last.weight"):
        weight, stored, scale = float32[name], ours[f"{name}_quantized"], ours[f"{name}_scale"]
        real = stored * scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert not stored[weight == 0].any()
        assert (np.abs(real - weight) <= scale.reshape(-1, *[1] * (weight.ndim - 1)) * 0.5001).all()


def test_weights_lose_no_more_than_the_coarser_step_explains(files: Path) -> None:
    """Rounding to a step s leaves an error of s²/12 in the mean square (Widrow 1956); a step is at most 17/16 of s."""
    float32, ours, stock = (constants(files / f"{name}.onnx") for name in ("model", "ours", "stock"))
    for name in ("first.weight", "second.weight"):
        kept = float32[name] != 0
        scales = [
            (one[f"{name}_scale"].reshape(-1, 1, 1, 1) * np.ones_like(float32[name]))[kept] for one in (ours, stock)
        ]
        error = ours[f"{name}_quantized"][kept] * scales[0] - float32[name][kept]
        assert np.square(error).mean() < (17 / 16) ** 2 * np.square(scales[1]).mean() / 12


def test_answers_stay_near_the_float32_models(files: Path) -> None:
    model, ours = (OnnxArtifact(files / f"{name}.onnx").logits(inputs()) for name in ("model", "ours"))
    assert np.abs(ours - model).max() < 0.03 * np.abs(model).max()


def test_the_encoded_file_is_smaller(files: Path) -> None:
    sizes = []
    for name in ("ours", "stock"):
        model = onnx.load(files / f"{name}.onnx")
        encode_model(model)
        sizes.append(model.ByteSize())
    assert sizes[0] < 0.9 * sizes[1]
