"""The black box of an ONNX file answers what ONNX Runtime answers; what is no classifier gets one line."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.errors import UserError

Build = Callable[..., Path]

RNG = np.random.default_rng(3)


def rows(n: int) -> Any:
    return RNG.standard_normal((n, 6), dtype=np.float32)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        OnnxArtifact(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_logits_are_the_runtimes_answers(convnet_onnx: Path) -> None:
    x = RNG.standard_normal((700, 1, 8, 8), dtype=np.float32)
    artifact = OnnxArtifact(convnet_onnx, threads=1)
    session = onnxruntime.InferenceSession(convnet_onnx)
    expected = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.testing.assert_allclose(artifact.logits(x), expected, rtol=1e-5, atol=1e-6)
    assert (artifact.format, artifact.classes, artifact.input_shape) == ("onnx", 10, (1, 8, 8))
    assert artifact.logits(x).dtype == np.float32


def test_a_formula_worked_by_hand(build: Build, linear: SimpleNamespace) -> None:
    x = rows(5)
    expected = np.maximum(x @ linear.a, 0) @ linear.w + linear.b
    np.testing.assert_allclose(OnnxArtifact(build(linear.nodes, linear.weights)).logits(x), expected, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9])
def test_a_fixed_batch_is_filled_up_and_looped_over(build: Build, linear: SimpleNamespace, n: int) -> None:
    free = OnnxArtifact(build(linear.nodes, linear.weights, name="free.onnx"))
    fixed = OnnxArtifact(
        build(
            linear.nodes,
            linear.weights,
            inputs={"x": (TensorProto.FLOAT, [4, 6])},
            outputs={"y": (TensorProto.FLOAT, [4, 3])},
            name="fixed.onnx",
        )
    )
    x = rows(n)
    assert fixed.batch == 4
    assert fixed.logits(x).shape == (n, 3)
    np.testing.assert_allclose(fixed.logits(x), free.logits(x), rtol=1e-5)


def test_a_batch_that_is_free_in_name_only_is_run_one_by_one(build: Build, linear: SimpleNamespace) -> None:
    nodes = [helper.make_node("Reshape", ["y0", "one"], ["y"])]
    first = [*linear.nodes[:3], helper.make_node("Add", ["b", "m"], ["y0"])]
    path = build([*first, *nodes], {**linear.weights, "one": np.array([1, 3])})
    artifact = OnnxArtifact(path)
    x = rows(3)
    assert artifact.batch == 1
    np.testing.assert_allclose(artifact.logits(x), np.maximum(x @ linear.a, 0) @ linear.w + linear.b, rtol=1e-5)


def test_probabilities_become_their_logarithms(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes[:3], helper.make_node("Add", ["b", "m"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    artifact = OnnxArtifact(build(nodes, linear.weights))
    assert artifact.probabilities
    logits = artifact.logits(rows(50))
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-5)
    assert not OnnxArtifact(build(linear.nodes, linear.weights)).probabilities


def test_probabilities_are_found_without_a_softmax_node(build: Build, linear: SimpleNamespace) -> None:
    nodes = [
        *linear.nodes[:3],
        helper.make_node("Exp", ["m"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["s"], keepdims=1),
        helper.make_node("Div", ["e", "s"], ["y"]),
    ]
    assert OnnxArtifact(build(nodes, {**linear.weights, "axis": np.array([1])})).probabilities


def test_a_probability_of_zero_stays_finite(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes[:3], helper.make_node("Add", ["b", "m"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    assert np.isfinite(OnnxArtifact(build(nodes, linear.weights)).logits(rows(4) * 1e4)).all()


def test_a_dynamically_quantised_file_answers_each_sample_alone(
    build: Build, linear: SimpleNamespace, tmp_path: Path
) -> None:
    from onnxruntime.quantization import quantize_dynamic

    path = tmp_path / "dynamic.onnx"
    quantize_dynamic(build(linear.nodes, linear.weights), path)
    artifact = OnnxArtifact(path, threads=1)
    x = rows(6) * np.array([[1], [1], [1], [1], [1], [100]], dtype=np.float32)
    np.testing.assert_array_equal(artifact.logits(x)[:1], artifact.logits(x[:1]))


def test_half_precision_inputs_are_cast(build: Build, linear: SimpleNamespace) -> None:
    half = {key: value.astype(np.float16) for key, value in linear.weights.items()}
    kind = TensorProto.FLOAT16
    path = build(linear.nodes, half, inputs={"x": (kind, ["n", 6])}, outputs={"y": (kind, ["n", 3])})
    x = rows(5)
    expected = np.maximum(x @ linear.a, 0) @ linear.w + linear.b
    np.testing.assert_allclose(OnnxArtifact(path).logits(x), expected, atol=0.05)


def test_wrong_shapes_and_values_that_are_not_finite_are_refused(build: Build, linear: SimpleNamespace) -> None:
    artifact = OnnxArtifact(build(linear.nodes, linear.weights))
    with pytest.raises(UserError, match=r"shape \(n, 6\), not \(4, 7\)"):
        artifact.logits(np.zeros((4, 7), dtype=np.float32))
    x = rows(4)
    x[2, 0] = np.nan
    with pytest.raises(UserError, match="1 of 4 inputs"):
        artifact.logits(x)


def test_answers_that_are_not_finite_are_refused(build: Build, linear: SimpleNamespace) -> None:
    linear.weights["b"] = np.array([0, np.nan, 0], dtype=np.float32)
    artifact = OnnxArtifact(build(linear.nodes, linear.weights))
    with pytest.raises(UserError, match="answers NaN or infinity for 2 of 2 inputs"):
        artifact.logits(rows(2))


def test_several_inputs_of_one_shape_are_one_after_another_on_the_first_axis(build: Build) -> None:
    both = {"left": (TensorProto.FLOAT, ["n", 3]), "right": (TensorProto.FLOAT, ["n", 3])}
    artifact = OnnxArtifact(build([helper.make_node("Sub", ["left", "right"], ["y"])], inputs=both))
    assert artifact.input_shape == (2, 3)
    x = rows(4).reshape(4, 2, 3)
    np.testing.assert_allclose(artifact.logits(x), x[:, 0] - x[:, 1], rtol=1e-6)


def test_inputs_of_different_kinds_are_named(build: Build) -> None:
    both = {"left": (TensorProto.FLOAT, ["n", 3]), "mask": (TensorProto.INT64, ["n", 3])}
    nodes = [helper.make_node("Cast", ["mask"], ["m"], to=1), helper.make_node("Add", ["left", "m"], ["y"])]
    message = refused(build(nodes, inputs=both))
    assert "'left'" in message
    assert "'mask'" in message


def test_scores_go_before_labels_where_both_are_given(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes, helper.make_node("ArgMax", ["y"], ["label"], axis=1)]
    outputs = {"label": (TensorProto.INT64, ["n", 1]), "y": (TensorProto.FLOAT, ["n", 3])}
    artifact = OnnxArtifact(build(nodes, linear.weights, outputs=outputs))
    assert (artifact.output_name, artifact.labels_only) == ("y", False)
    plain = OnnxArtifact(build(linear.nodes, linear.weights, name="plain.onnx"))
    np.testing.assert_array_equal(artifact.logits(x := rows(5)), plain.logits(x))


def test_of_several_scores_the_answer_is_asked_for_and_can_be_named(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes, helper.make_node("Neg", ["y"], ["minus"])]
    outputs = {"y": (TensorProto.FLOAT, ["n", 3]), "minus": (TensorProto.FLOAT, ["n", 3])}
    path = build(nodes, linear.weights, outputs=outputs)
    message = refused(path)
    assert "'minus'" in message
    assert "--output NAME" in message
    x = rows(5)
    np.testing.assert_allclose(
        OnnxArtifact(path, output="minus").logits(x), -OnnxArtifact(path, output="y").logits(x), rtol=1e-6
    )
    with pytest.raises(UserError, match="no output 'z'"):
        OnnxArtifact(path, output="z")


def test_tokens_are_taken_as_whole_numbers_of_the_sample_s_length(build: Build) -> None:
    table = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["e"]),
        helper.make_node("ReduceMean", ["e", "axis"], ["y"], keepdims=0),
    ]
    weights = {"table": table, "axis": np.array([1])}
    path = build(nodes, weights, inputs={"tokens": (TensorProto.INT64, ["n", "length"])})
    assert "free sizes" in refused(path)
    artifact = OnnxArtifact(path, shape=(4,))
    assert (artifact.tokens, artifact.input_shape) == (True, (4,))
    tokens = np.array([[0, 8, 3, 3], [1, 2, 4, 7]])
    np.testing.assert_allclose(artifact.logits(tokens.astype(np.float32)), table[tokens].mean(axis=1), rtol=1e-5)


def test_labels_alone_count_as_sure_probabilities(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes[:3], helper.make_node("ArgMax", ["m"], ["y"], axis=1)]
    labels = {"y": (TensorProto.INT64, ["n", 1])}
    artifact = OnnxArtifact(build(nodes, linear.weights, outputs=labels))
    x = rows(50)
    expected = (np.maximum(x @ linear.a, 0) @ linear.w).argmax(1)
    assert (artifact.labels_only, artifact.classes) == (True, 3)
    np.testing.assert_array_equal(artifact.logits(x).argmax(1), expected)
    assert set(np.unique(artifact.logits(x)).round().tolist()) == {-87.0, 0.0}
    with pytest.raises(Unopenable, match="answers labels"):
        artifact.unpack()


def test_labels_that_do_not_say_how_many_there_are_are_refused(build: Build) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.INT64),
    ]
    path = build(nodes, {"axis": np.array([1])}, outputs={"y": (TensorProto.INT64, ["n"])})
    assert "not how many there are" in refused(path)


def test_maps_of_probabilities_are_laid_out(build: Build, linear: SimpleNamespace) -> None:
    zipmap = helper.make_node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    nodes = [*linear.nodes, helper.make_node("Softmax", ["y"], ["p"]), zipmap]
    path = build(nodes, linear.weights)
    model = onnx.load(path)
    maps = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    del model.graph.output[:]
    model.graph.output.append(helper.make_value_info("maps", helper.make_sequence_type_proto(maps)))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    path.write_bytes(model.SerializeToString())
    artifact = OnnxArtifact(path)
    x = rows(5)
    logits = np.maximum(x @ linear.a, 0) @ linear.w + linear.b
    expected = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert artifact.probabilities
    np.testing.assert_allclose(artifact.logits(x), expected, rtol=1e-4, atol=1e-5)


def test_one_column_is_refused(build: Build) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    assert "one column" in refused(
        build(nodes, {"w": np.ones((6, 1), dtype=np.float32)}, outputs={"y": (TensorProto.FLOAT, ["n", 1])})
    )


def test_a_model_from_image_to_image_is_refused(build: Build) -> None:
    image = {"x": (TensorProto.FLOAT, ["n", 3, 4, 4])}
    message = refused(build([helper.make_node("Relu", ["x"], ["y"])], inputs=image, outputs={"y": image["x"]}))
    assert "not a classifier" in message
    assert "(1, 3, 4, 4), not (n, classes)" in message


def test_free_image_sizes_are_refused(build: Build) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    assert "free sizes" in refused(build(nodes, inputs={"x": (TensorProto.FLOAT, ["n", 3, "h", "w"])}))


def test_an_opset_the_runtime_does_not_know_is_named(build: Build, linear: SimpleNamespace) -> None:
    assert "opset" in refused(build(linear.nodes, linear.weights, opset=99))


def test_an_operator_the_runtime_does_not_know_is_named(build: Build) -> None:
    assert "Frobnicate" in refused(build([helper.make_node("Frobnicate", ["x"], ["y"])]))


def test_weights_in_a_missing_side_file_are_named(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    model = onnx.load(build(linear.nodes, linear.weights))
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    assert OnnxArtifact(path).classes == 3
    (tmp_path / "split.data").unlink()
    assert "split.data" in refused(path)


def test_weights_outside_the_folder_are_refused(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    model = onnx.load(build(linear.nodes, linear.weights))
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    content = onnx.load(path, load_external_data=False)
    for tensor in content.graph.initializer:
        tensor.external_data[0].value = "../split.data"
    path.write_bytes(content.SerializeToString())
    assert "outside its folder" in refused(path)


def test_the_runtime_says_nothing_of_its_own(
    build: Build, linear: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    artifact = OnnxArtifact(build(linear.nodes, linear.weights))
    artifact.logits(rows(3))
    refused(build([helper.make_node("Frobnicate", ["x"], ["y"])], name="bad.onnx"))
    assert capfd.readouterr() == ("", "")
