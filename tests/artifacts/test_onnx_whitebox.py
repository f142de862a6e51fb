"""The white box of an ONNX file: the input of its last linear layer, whatever form that layer has in the graph."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.onnx_whitebox import OnnxWhiteBox

Build = Callable[..., Path]
RNG = np.random.default_rng(4)


def rows(n: int) -> Any:
    return RNG.standard_normal((n, 6), dtype=np.float32)


def assert_opened(path: Path, linear: SimpleNamespace) -> None:
    x = rows(300)
    artifact = OnnxArtifact(path, threads=1)
    white_box = artifact.unpack()
    assert isinstance(white_box, OnnxWhiteBox)
    features = white_box.features(x)
    np.testing.assert_allclose(features.penultimate, np.maximum(x @ linear.a, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features.logits, artifact.logits(x))
    np.testing.assert_allclose(white_box.weight, linear.w, rtol=1e-6)
    np.testing.assert_allclose(white_box.bias, linear.b, rtol=1e-6)


def test_matmul_and_add(build: Build, linear: SimpleNamespace) -> None:
    assert_opened(build(linear.nodes, linear.weights), linear)


def test_gemm_with_transposed_weight_and_factors(build: Build, linear: SimpleNamespace) -> None:
    last = helper.make_node("Gemm", ["r", "wt", "b2"], ["y"], transB=1, alpha=2.0, beta=0.5)
    weights = {"a": linear.a, "wt": linear.w.T.copy() / 2, "b2": linear.b * 2}
    assert_opened(build([*linear.nodes[:2], last], weights), linear)


def test_a_softmax_at_the_end(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes[:3], helper.make_node("Add", ["b", "m"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    assert_opened(build(nodes, linear.weights), linear)


def test_a_weight_that_the_graph_computes(build: Build, linear: SimpleNamespace) -> None:
    """As an encoded or transposed weight does: it is read as the runtime computes it."""
    nodes = [helper.make_node("Transpose", ["wt"], ["w"]), *linear.nodes]
    assert_opened(build(nodes, {"a": linear.a, "wt": linear.w.T.copy(), "b": linear.b}), linear)


def test_half_precision(build: Build, linear: SimpleNamespace) -> None:
    kind = TensorProto.FLOAT16
    half = {key: value.astype(np.float16) for key, value in linear.weights.items()}
    path = build(linear.nodes, half, inputs={"x": (kind, ["n", 6])}, outputs={"y": (kind, ["n", 3])})
    x = rows(20)
    features = OnnxArtifact(path).unpack().features(x)
    np.testing.assert_allclose(features.penultimate, np.maximum(x @ linear.a, 0), atol=0.02)


def test_a_fixed_batch(build: Build, linear: SimpleNamespace) -> None:
    shapes = {"inputs": {"x": (TensorProto.FLOAT, [7, 6])}, "outputs": {"y": (TensorProto.FLOAT, [7, 3])}}
    assert_opened(build(linear.nodes, linear.weights, **shapes), linear)


def test_weights_in_a_side_file(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    model = onnx.load(build(linear.nodes, linear.weights))
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    assert_opened(path, linear)


def test_penultimate_activations_are_those_of_torch(convnet: Any, convnet_onnx: Path) -> None:
    import torch

    x = RNG.standard_normal((300, 1, 8, 8), dtype=np.float32)
    features = OnnxArtifact(convnet_onnx, threads=1).unpack().features(x)
    body = convnet[:-1].eval()
    with torch.no_grad():
        expected = body(torch.from_numpy(x)).numpy()
    convnet.train()
    np.testing.assert_allclose(features.penultimate, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_channel", [False, True])
def test_an_int8_file_answers_the_same_with_its_inner_values_shown(
    convnet_onnx: Path, tmp_path: Path, per_channel: bool
) -> None:
    """Static quantisation by ONNX Runtime's own tool: showing the values must not undo the integer kernels."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    samples = iter([{"input": RNG.standard_normal((1, 1, 8, 8), dtype=np.float32)} for _ in range(32)])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(samples, None)

    path = tmp_path / "int8.onnx"
    quantize_static(convnet_onnx, path, Reader(), per_channel=per_channel, weight_type=QuantType.QInt8)
    artifact = OnnxArtifact(path, threads=1)
    white_box = artifact.unpack()
    assert artifact.quantised
    x = RNG.standard_normal((300, 1, 8, 8), dtype=np.float32)
    features = white_box.features(x)
    np.testing.assert_array_equal(features.logits, artifact.logits(x))
    float32 = OnnxArtifact(convnet_onnx, threads=1).unpack().features(x).penultimate
    assert np.corrcoef(features.penultimate.ravel(), float32.ravel())[0, 1] > 0.98


def test_global_pooling_at_the_end_is_named(build: Build) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"w": RNG.standard_normal((3, 2, 1, 1)).astype(np.float32)}
    artifact = OnnxArtifact(build(nodes, weights, inputs={"x": (TensorProto.FLOAT, ["n", 2, 4, 4])}))
    with pytest.raises(Unopenable, match="not linear but GlobalAveragePool"):
        artifact.unpack()


def test_a_sum_of_two_branches_is_not_a_bias(build: Build, linear: SimpleNamespace) -> None:
    branch = helper.make_node("MatMul", ["x", "v"], ["s"])
    nodes = [*linear.nodes[:3], branch, helper.make_node("Add", ["m", "s"], ["y"])]
    weights = {**linear.weights, "v": RNG.standard_normal((6, 3)).astype(np.float32)}
    with pytest.raises(Unopenable, match="Add"):
        OnnxArtifact(build(nodes, weights)).unpack()


def test_a_product_of_activations_is_not_a_layer(build: Build) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]), helper.make_node("Gemm", ["x", "t"], ["y"])]
    shapes = {"inputs": {"x": (TensorProto.FLOAT, [4, 6])}, "outputs": {"y": (TensorProto.FLOAT, [4, 4])}}
    with pytest.raises(Unopenable, match="two activations"):
        OnnxArtifact(build(nodes, **shapes)).unpack()


def test_no_linear_layer_at_all(build: Build) -> None:
    path = build([helper.make_node("Identity", ["x"], ["y"])], outputs={"y": (TensorProto.FLOAT, ["n", 6])})
    with pytest.raises(Unopenable, match="no linear layer"):
        OnnxArtifact(path).unpack()
