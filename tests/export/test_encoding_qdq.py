"""A quantised file without what its other constants say: the same bits out, the same integer kernels, fewer bytes."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from safedeploy.export.encoding.qdq import drop_derived
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("qdq")
    depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
    layers = [nn.Conv2d(3, 24, 3), nn.ReLU(), depthwise, nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 20)]
    x = np.random.default_rng(0).normal(size=(32, *SHAPE)).astype(np.float32)
    export_onnx(nn.Sequential(*layers).eval(), SHAPE, folder / "model.onnx", opset=20, model_name="small")
    quantise_onnx(folder / "model.onnx", folder / "int8.onnx", x, Quantisation())
    return folder / "int8.onnx"


def dropped(model: onnx.ModelProto) -> onnx.ModelProto:
    count = itertools.count()
    drop_derived(model, lambda: f"fresh{next(count)}")
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(model: onnx.ModelProto, folder: Path) -> tuple[np.ndarray, Counter[str]]:
    """Logits of 64 random inputs, and the operators of the graph that ONNX Runtime made of the file."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(64, *SHAPE)).astype(np.float32)
    logits = session.run(None, {session.get_inputs()[0].name: x})[0]
    return logits, Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_same_bits_and_the_same_integer_kernels(quantised: Path, tmp_path: Path) -> None:
    wanted, kernels = answers(onnx.load(quantised), tmp_path)
    found, same_kernels = answers(dropped(onnx.load(quantised)), tmp_path)
    np.testing.assert_array_equal(found, wanted)
    assert same_kernels == kernels
    assert kernels["QLinearConv"] == 2
    assert kernels["QGemm"] == 1


def test_scales_and_zero_points_of_biases_are_gone(quantised: Path) -> None:
    before, after = onnx.load(quantised), dropped(onnx.load(quantised))
    channels = 24 + 24 + 20
    gone = 4 * channels + 4 * channels  # a float32 and an int32 for each
    stored = [sum(numpy_helper.to_array(one).nbytes for one in model.graph.initializer) for model in (before, after)]
    assert stored[0] - stored[1] == gone
    assert sum(node.op_type == "Mul" for node in after.graph.node) == 3


def small(bias_scale: np.ndarray, zero_point: int) -> onnx.ModelProto:
    """A quantised Gemm of 2 inputs and 16 outputs, whose bias has these steps."""
    weight_scale = np.linspace(0.1, 0.2, 16, dtype=np.float32)
    constants = {
        "xs": np.float32(0.5),
        "xz": np.uint8(3),
        "w": np.ones((16, 2), np.int8),
        "ws": weight_scale,
        "wz": np.zeros(16, np.int8),
        "b": np.arange(16, dtype=np.int32),
        "bs": bias_scale,
        "bz": np.full(16, zero_point, np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
        helper.make_node("Gemm", ["xd", "wd", "bd"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


PRODUCT = np.float32(0.5) * np.linspace(0.1, 0.2, 16, dtype=np.float32)


def test_a_scale_that_is_no_product_to_the_last_bit_stays() -> None:
    other = PRODUCT.copy()
    other[3] = np.nextafter(other[3], np.float32(1))
    model = dropped(small(other, 0))
    assert {one.name for one in model.graph.initializer} == {"xs", "xz", "w", "ws", "wz", "b", "bs"}
    assert all(node.op_type != "Mul" for node in model.graph.node)


def test_a_product_goes() -> None:
    model = dropped(small(PRODUCT, 0))
    assert {one.name for one in model.graph.initializer} == {"xs", "xz", "w", "ws", "wz", "b"}


def test_a_zero_point_that_is_not_zero_stays() -> None:
    model = dropped(small(PRODUCT, 1))
    assert {one.name for one in model.graph.initializer} == {"xs", "xz", "w", "ws", "wz", "b", "bz"}


def test_a_float32_file_stays_as_it_is(quantised: Path) -> None:
    model = onnx.load(quantised.with_name("model.onnx"))
    before = model.SerializeToString(deterministic=True)
    assert dropped(model).SerializeToString(deterministic=True) == before
