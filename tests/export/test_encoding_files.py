"""Encoded files: ONNX Runtime's own answers and its own optimised graph are what they are held to."""

import copy
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from safedeploy.artifacts.inspect import inspect
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.onnx_encoding import coded, decoded
from safedeploy.artifacts.onnx_session import optimised
from safedeploy.errors import UserError
from safedeploy.export.encoding.encode import encode, encode_model
from safedeploy.export.encoding.rounding import round_file
from safedeploy.export.encoding.tensor import choose
from safedeploy.export.encoding.values import round_values
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation

SIDE = 12


def sparse(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    weight = np.where(generator.random(shape) < density, generator.standard_normal(shape), 0)
    return weight.astype(np.float32)  # without -0.0, which is 0.0 once it is decoded


def classifier(path: Path, density: float = 0.1, convolution: np.ndarray | None = None) -> Path:
    """Convolution, ReLU, mean, linear layer of 5 classes on (1, 12, 12)."""
    weights = {
        "conv.weight": sparse((64, 1, 3, 3), 0.5, 1),
        "second.weight": sparse((96, 64, 3, 3), density, 2) if convolution is None else convolution,
        "fc.weight": sparse((5, 96), 0.8, 3),
        "conv.bias": np.random.default_rng(4).standard_normal(64).astype(np.float32),
        "second.bias": np.random.default_rng(5).standard_normal(96).astype(np.float32),
        "fc.bias": np.zeros(5, np.float32),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "conv.weight", "conv.bias"], ["first"], "first", **same),
            helper.make_node("Relu", ["first"], ["second_input"], "relu"),
            helper.make_node("Conv", ["second_input", "second.weight", "second.bias"], ["third"], "second", **same),
            helper.make_node("Relu", ["third"], ["fourth"], "relu2"),
            helper.make_node("GlobalAveragePool", ["fourth"], ["pooled"], "pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], "flatten", axis=1),
            helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1, alpha=1.0),
        ],
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return classifier(tmp_path / "plain.onnx")


def answers(path: Path) -> np.ndarray:
    artifact = OnnxArtifact(path, threads=1)
    return artifact.answers(np.random.default_rng(9).standard_normal((16, *artifact.input_shape)).astype(np.float32))


def runs(path: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime makes of a file."""
    return Counter(node.op_type for node in optimised(path, path.with_suffix(".optimised")).graph.node)


def weights_of(model: onnx.ModelProto) -> list[bytes]:
    return sorted(numpy_helper.to_array(one).tobytes() for one in model.graph.initializer if len(one.dims) > 1)


def test_an_encoded_file_answers_bit_for_bit_and_runs_the_same_graph(plain: Path, tmp_path: Path) -> None:
    made = tmp_path / "encoded.onnx"
    told = encode(plain, made)
    assert (told.before_bytes, told.after_bytes) == (plain.stat().st_size, made.stat().st_size)
    assert told.after_bytes < 0.25 * told.before_bytes
    assert np.array_equal(answers(plain), answers(made))
    assert runs(plain) == runs(made)
    onnx.checker.check_model(onnx.load(made), full_check=True)


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22, 23])
def test_every_opset_that_a_target_may_name_is_encoded(plain: Path, tmp_path: Path, opset: int) -> None:
    source, made = tmp_path / "source.onnx", tmp_path / "encoded.onnx"
    model = onnx.version_converter.convert_version(onnx.load(plain), opset)
    onnx.save(model, source)
    assert encode(source, made).codecs
    onnx.checker.check_model(onnx.load(made), full_check=True)
    assert np.array_equal(answers(source), answers(made))


def test_an_int8_file_keeps_its_integer_kernels(plain: Path, tmp_path: Path) -> None:
    quantised, made = tmp_path / "int8.onnx", tmp_path / "encoded.onnx"
    x = np.random.default_rng(0).standard_normal((64, 1, SIDE, SIDE)).astype(np.float32)
    quantise_onnx(plain, quantised, x, Quantisation())
    encode(quantised, made)
    assert made.stat().st_size < 0.5 * quantised.stat().st_size
    assert np.array_equal(answers(quantised), answers(made))
    assert runs(made)["QLinearConv"] == 2
    assert runs(quantised) == runs(made)


@pytest.mark.parametrize("how", ["float16", "int8", "palette4", "palette6", "palette8"])
def test_rounded_weights_take_fewer_bytes_and_are_coded_without_loss(plain: Path, tmp_path: Path, how) -> None:
    rounded, made, exact = tmp_path / "rounded.onnx", tmp_path / "encoded.onnx", tmp_path / "exact.onnx"
    round_file(plain, rounded, how)
    encode(rounded, made)
    encode(plain, exact)
    assert made.stat().st_size < exact.stat().st_size
    assert np.array_equal(answers(rounded), answers(made))
    assert runs(made) == runs(plain)
    stored = {name: numpy_helper.to_array(one) for one in onnx.load(rounded).graph.initializer for name in [one.name]}
    original = {one.name: numpy_helper.to_array(one) for one in onnx.load(plain).graph.initializer}
    assert np.array_equal(stored["second.weight"], round_values(original["second.weight"], how))
    assert np.array_equal(stored["second.bias"], original["second.bias"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.sampled_from([(64, 4, 3, 3), (300,), (40, 50), (8, 129), (1, 700)]),
    density=st.floats(0, 1),
    seed=st.integers(0, 100),
    kind=st.sampled_from(["float32", "int8", "few", "first", "last"]),
)
def test_any_weight_comes_back_bit_for_bit(shape, density: float, seed: int, kind: str) -> None:
    weight = sparse(shape, density, seed)
    if kind == "int8":
        weight = np.clip(np.rint(weight * 40), -128, 127).astype(np.int8)
    elif kind == "few":
        weight = np.round(weight)
    elif kind in ("first", "last"):
        weight.reshape(-1)[0 if kind == "first" else -1] = 1.5
    weight = weight + np.zeros((), weight.dtype)  # rounding has made -0.0
    model = reads(weight)
    encode_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.zeros((), np.float32)})[0]
    assert found.shape == shape
    assert np.array_equal(found, weight.astype(np.float32))


def reads(*weights: np.ndarray) -> onnx.ModelProto:
    """x + each of `weights`, added up over their first one's shape."""
    nodes = [helper.make_node("Cast", [f"w{i}"], [f"f{i}"], to=TensorProto.FLOAT) for i, _ in enumerate(weights)]
    nodes.append(helper.make_node("Sum", ["x", *(f"f{i}" for i, _ in enumerate(weights))], ["y"]))
    graph = helper.make_graph(
        nodes,
        "reads",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(weights[0].shape))],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_very_sparse_and_large_distances(tmp_path: Path) -> None:
    """Distances of thousands, which no byte holds."""
    weight = np.zeros((100, 1000), np.float32)
    weight.reshape(-1)[[0, 7, 40_000, 99_999]] = [1, 2, 3, 4]
    model = reads(weight)
    assert set(encode_model(model).values()) == {1}
    assert model.ByteSize() < 4_000
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.zeros((), np.float32)})[0]
    assert np.array_equal(found, weight)


def test_what_is_dense_is_left_as_it_is(tmp_path: Path) -> None:
    plain = classifier(tmp_path / "dense.onnx", 1.0)
    model = onnx.load(plain)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(value + np.float32(0.1), tensor.name))
    onnx.save(model, plain)
    told = encode(plain, tmp_path / "encoded.onnx")
    assert told.codecs == {}
    assert (tmp_path / "encoded.onnx").read_bytes() == plain.read_bytes()


def test_the_white_box_of_an_encoded_file_is_that_of_the_plain_one(plain: Path, tmp_path: Path) -> None:
    made = tmp_path / "encoded.onnx"
    encode(plain, made)
    x = np.random.default_rng(3).standard_normal((6, 1, SIDE, SIDE)).astype(np.float32)
    y = np.arange(6) % 5
    boxes = [OnnxArtifact(path, threads=1).unpack() for path in (plain, made)]
    first, second = (box.inner(x, y) for box in boxes)
    assert np.array_equal(boxes[0].weight, boxes[1].weight)
    np.testing.assert_allclose(first.gradient_norms, second.gradient_norms, rtol=1e-6)
    assert len(first.layers) == len(second.layers) == 3


def test_decoding_gives_back_the_plain_files_weights(plain: Path, tmp_path: Path) -> None:
    made = tmp_path / "encoded.onnx"
    encode(plain, made)
    model = onnx.load(made)
    assert weights_of(decoded(model, made)) == weights_of(onnx.load(plain))
    assert decoded(onnx.load(plain), plain) == onnx.load(plain)


def test_inspect_tells_codecs_bytes_and_bounds(plain: Path, tmp_path: Path) -> None:
    made = tmp_path / "encoded.onnx"
    encode(plain, made)
    found = inspect(made)
    assert found.encoding is not None
    assert found.encoding.state == "coded"
    told = {one.name: one for one in found.tensors or []}
    second = told["conv2.weight"]
    assert (second.shape, second.dtype) == ([96, 64, 3, 3], "float32")
    assert second.codec.startswith("GolombRice")
    assert second.bound_bytes is not None
    assert second.bound_bytes <= second.size_bytes <= 1.02 * second.bound_bytes
    assert told["conv2.bias"].codec == ""
    stored = sum(numpy_helper.to_array(one).nbytes for one in onnx.load(made).graph.initializer)
    assert abs(sum(one.size_bytes for one in told.values()) - stored) <= len(told)


def test_inspect_sees_that_a_later_tool_has_undone_the_encoding(plain: Path, tmp_path: Path) -> None:
    made, undone = tmp_path / "encoded.onnx", tmp_path / "undone.onnx"
    encode(plain, made)
    onnx.save(optimised(made, tmp_path / "optimised.onnx"), undone)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(undone)
    onnxruntime.InferenceSession(str(made), options, providers=["CPUExecutionProvider"])
    found = inspect(undone)
    assert found.encoding is not None
    assert (found.encoding.state, found.encoding.coded) == ("plain", 0)
    assert found.encoding.spared_bytes > 100_000


def test_inspect_sees_codes_that_can_no_longer_be_folded(plain: Path, tmp_path: Path) -> None:
    """A tool that lists constants as inputs, so that a caller may replace them, keeps the runtime from folding them."""
    made, changed = tmp_path / "encoded.onnx", tmp_path / "changed.onnx"
    encode(plain, made)
    model = onnx.load(made)
    for one in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)))
    onnx.save(model, changed)
    session = onnxruntime.InferenceSession(str(changed), providers=["CPUExecutionProvider"])
    assert len(session.get_inputs()) == 1
    found = inspect(changed)
    assert found.encoding is not None
    assert found.encoding.state == "decoded at every inference"


def test_a_codec_is_given_up_where_its_decoder_costs_more_than_it_saves() -> None:
    alike = {f"w{i}": {"GolombRice4": 1000.0, "GolombRice5": 1000.0 - 1, "stored": 9000.0} for i in range(3)}
    alike["w9"] = {"GolombRice4": 1000.0, "stored": 9000.0}
    assert set(choose(alike).values()) == {"GolombRice4"}


def test_the_same_file_gives_the_same_bytes_in_any_process(plain: Path, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from safedeploy.export.encoding.encode import encode; "
    script += "encode(Path(sys.argv[1]), Path(sys.argv[2]))"
    made = []
    for hashes in ("1", "2"):
        made.append(tmp_path / f"{hashes}.onnx")
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        subprocess.run([sys.executable, "-c", script, plain, made[-1]], check=True, env=environment)
    assert made[0].read_bytes() == made[1].read_bytes()


def test_small_weights_with_one_codec_are_coded_as_one(tmp_path: Path) -> None:
    weights = [sparse((20, 10 + i), 0.1, i) for i in range(6)]
    models = [reads(weight) for weight in weights]
    together = reads(*(np.pad(weight, ((0, 0), (0, 16 - weight.shape[1]))) for weight in weights))
    alone = sum(model.ByteSize() for model in models if encode_model(model))
    encode_model(together)
    assert sum(node.op_type == "Split" for node in together.graph.node) == 1
    assert together.ByteSize() < alone / 2


def test_a_runtime_that_answers_otherwise_is_told(plain: Path, tmp_path: Path, monkeypatch) -> None:
    from safedeploy.export.encoding import encode as module

    def wrong(model: onnx.ModelProto) -> dict[str, int]:
        told = encode_model(model)
        for one in model.graph.initializer:
            if one.data_type == TensorProto.FLOAT and one.dims[0] > 1000:
                value = copy.deepcopy(numpy_helper.to_array(one))
                one.CopyFrom(numpy_helper.from_array(value[::-1], one.name))
        return told

    monkeypatch.setattr(module, "encode_model", wrong)
    with pytest.raises(UserError, match=r"plain\.onnx: ONNX Runtime .* answers otherwise .* sparse = false"):
        encode(plain, tmp_path / "encoded.onnx")
    assert not (tmp_path / "encoded.onnx").exists()


def test_coded_weights_are_listed_with_what_they_take(plain: Path, tmp_path: Path) -> None:
    made = tmp_path / "encoded.onnx"
    encode(plain, made)
    listed = coded(onnx.load(made), made)
    assert all(one.number_bits == 32 for one in listed)
    assert sum(one.value.size for one in listed) >= 96 * 64 * 9
