"""An imported graph answers as the file does in ONNX Runtime, and its weights are torch modules."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.inner import InnerReader
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.onnx_inner import OnnxInner
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation
from safedeploy.models.zoo import build_model
from safedeploy.vision import torchvision

Build = Callable[..., Path]
RNG = np.random.default_rng(4)
Y = np.array([0, 1, 2, 1, 0], dtype=np.int64)


def rows(n: int = 5, *shape: int) -> Any:
    return RNG.standard_normal((n, *(shape or (6,))), dtype=np.float32)


def both(path: Path, x: Any) -> tuple[Any, Any]:
    """Answers of the runtime and of the imported graph."""
    artifact = OnnxArtifact(path, threads=1)
    with torch.no_grad():
        return artifact.logits(x), OnnxInner(artifact).module(torch.from_numpy(x)).numpy()


def agree(path: Path, x: Any) -> None:
    theirs, ours = both(path, x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def trained(name: str, shape: tuple[int, ...]) -> nn.Module:
    """Of the zoo, with the statistics of a few random batches in its normalisations."""
    model = build_model(name, shape, 10, 0)
    with torch.no_grad():
        for seed in range(3):
            model(torch.randn(8, *shape, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp", (20,)), ("lenet5", (1, 16, 16)), pytest.param("mobilenet_v2", (1, 16, 16), marks=pytest.mark.slow)],
)
def test_the_zoo_in_float32_and_int8(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    path, small = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    model = trained(name, shape)
    export_onnx(model, shape, path, opset=20, model_name=name)
    x = rows(20, *shape)
    agree(path, x)
    quantise_onnx(path, small, rows(16, *shape), Quantisation())
    theirs, ours = both(small, x)
    assert np.median(np.abs(ours - theirs)) < 0.01 * np.abs(theirs).max()  # a rounding to the other side, at most
    inner = OnnxArtifact(small, threads=1).unpack().inner(x[:5], Y)
    whole = OnnxArtifact(path, threads=1).unpack().inner(x[:5], Y)
    assert inner.layers == whole.layers
    correlation = np.corrcoef(np.log(inner.gradient_norms.ravel()), np.log(whole.gradient_norms.ravel()))[0, 1]
    assert correlation > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg16", "alexnet"])
def test_the_larger_zoo(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(trained(name, (3, 32, 32)), (3, 32, 32), path, opset=20, model_name=name)
    agree(path, rows(4, 3, 32, 32))


def test_layers_are_named_after_their_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(trained("lenet5", (1, 16, 16)), (1, 16, 16), path, opset=20, model_name="lenet5")
    layers = OnnxInner(OnnxArtifact(path)).graph.layers
    assert {name: type(layer).__name__ for name, layer in layers.items()} == {
        "conv1": "Conv2d",
        "conv2": "Conv2d",
        "fc1": "Linear",
        "fc2": "Linear",
        "fc3": "Linear",
    }


def test_a_product_and_the_sum_behind_it_are_one_linear_layer(build: Build, linear: SimpleNamespace) -> None:
    inside = OnnxInner(OnnxArtifact(build(linear.nodes, linear.weights)))
    assert list(inside.graph.layers) == ["a", "w"]
    last = inside.graph.layers["w"]
    assert isinstance(last, nn.Linear)
    np.testing.assert_array_equal(last.weight.detach().T, linear.w)
    np.testing.assert_array_equal(last.bias.detach(), linear.b)


def test_gradient_norms_of_a_file_are_those_worked_by_hand(build: Build, linear: SimpleNamespace) -> None:
    """∂ loss / ∂ w = hᵀ(p − onehot), ∂ / ∂ b = p − onehot, ∂ / ∂ a = xᵀ((p − onehot) wᵀ ∘ [h > 0])."""
    x = rows()
    inner = OnnxArtifact(build(linear.nodes, linear.weights)).unpack().inner(x, Y)
    hidden = np.maximum(x @ linear.a, 0)
    logits = hidden @ linear.w + linear.b
    error = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[Y]
    back = (error @ linear.w.T) * (hidden > 0)
    last = [np.sqrt((np.outer(h, e) ** 2).sum() + (e**2).sum()) for h, e in zip(hidden, error, strict=True)]
    first = [np.linalg.norm(np.outer(one, b)) for one, b in zip(x, back, strict=True)]
    np.testing.assert_allclose(inner.gradient_norms, np.stack([first, last], axis=1), rtol=1e-5)
    np.testing.assert_allclose(inner.activations[0], x @ linear.a, rtol=1e-5, atol=1e-6)


def test_a_softmax_at_the_end_keeps_gradients_where_it_rounds_to_one(build: Build, linear: SimpleNamespace) -> None:
    nodes = [*linear.nodes[:3], helper.make_node("Add", ["b", "m"], ["l"]), helper.make_node("Softmax", ["l"], ["y"])]
    sure = {**linear.weights, "w": linear.w * 12}
    plain = OnnxInner(OnnxArtifact(build(linear.nodes, sure))).read(x := rows(), Y)
    artifact = OnnxArtifact(build(nodes, sure))
    assert artifact.logits(x).max() == 0
    soft = OnnxInner(artifact).read(x, Y)
    np.testing.assert_allclose(soft.gradient_norms, plain.gradient_norms, rtol=1e-5)


def quantised_linear(linear: SimpleNamespace) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """x → int8 → a (per channel) → relu as int8's own clamp → w (per tensor) → y, in QDQ form."""
    step_a = (np.abs(linear.a).max(0) / 127).astype(np.float32)
    step_w = np.float32(np.abs(linear.w).max() / 127)
    weights = {
        "a8": np.round(linear.a / step_a).astype(np.int8),
        "sa": step_a,
        "za": np.zeros(5, dtype=np.int8),
        "w8": np.round(linear.w / step_w).astype(np.int8),
        "sw": np.array(step_w),
        "zw": np.array(0, dtype=np.int8),
        "sx": np.array(0.03, dtype=np.float32),
        "zx": np.array(5, dtype=np.int8),
        "sh": np.array(0.06, dtype=np.float32),
        "zh": np.array(-128, dtype=np.int8),
        "b": linear.b,
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["a8", "sa", "za"], ["a"], axis=1),
        helper.make_node("MatMul", ["xd", "a"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "sh", "zh"], ["hq"]),
        helper.make_node("DequantizeLinear", ["hq", "sh", "zh"], ["hd"]),
        helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["w"]),
        helper.make_node("MatMul", ["hd", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    return nodes, weights


def test_quantised_activations_pass_the_gradient_inside_their_range_and_none_outside(
    build: Build, linear: SimpleNamespace
) -> None:
    """The clamp at −128 is the ReLU here: the gradient is that of the float network with dequantised weights."""
    nodes, weights = quantised_linear(linear)
    path = build(nodes, weights)
    x = rows()
    agree(path, x)
    inside = OnnxInner(OnnxArtifact(path))
    assert list(inside.graph.layers) == ["a8", "w8"]
    a, w = (inside.graph.layers[name].weight.detach().numpy().T for name in ("a8", "w8"))
    np.testing.assert_allclose(a, linear.a, atol=weights["sa"].max())
    seen = np.clip(np.round(x / 0.03) + 5, -128, 127) * 0.03 - 0.15
    before = seen @ a
    hidden = np.clip(np.round(before / 0.06), 0, 255) * 0.06
    logits = hidden @ w + linear.b
    error = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[Y]
    back = (error @ w.T) * ((before >= 0) & (before <= 255 * 0.06))
    wanted = np.linalg.norm(seen, axis=1) * np.linalg.norm(back, axis=1)
    np.testing.assert_allclose(inside.read(x, Y).gradient_norms[:, 0], wanted, rtol=1e-4)


def quantise_static(source: Path, path: Path, form: str) -> OnnxArtifact:
    """By the runtime's own tool, activations in uint8."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    samples = iter([{"input": rows(1, 1, 8, 8)} for _ in range(16)])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(samples, None)

    kinds = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QUInt8}
    quantize_static(source, path, Reader(), quant_format=QuantFormat[form], **kinds)
    return OnnxArtifact(path, threads=1)


def test_static_int8_of_the_runtimes_quantiser(convnet_onnx: Path, tmp_path: Path) -> None:
    inner = OnnxInner(quantise_static(convnet_onnx, tmp_path / "int8.onnx", "QDQ")).read(rows(5, 1, 8, 8), Y)
    assert inner.layers == ("conv", "hidden", "head")


def test_the_runtimes_own_operators_are_named(convnet_onnx: Path, tmp_path: Path) -> None:
    artifact = quantise_static(convnet_onnx, tmp_path / "int8.onnx", "QOperator")
    with pytest.raises(Unopenable, match=r"does not know the operator com\.microsoft\."):
        OnnxInner(artifact)


def test_dynamic_int8_goes_sample_by_sample(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    """The range over a batch would let samples change each other's answers."""
    from onnxruntime.quantization import quantize_dynamic

    path = tmp_path / "dynamic.onnx"
    quantize_dynamic(build(linear.nodes, linear.weights), path)
    x = rows()
    inside = OnnxInner(OnnxArtifact(path, threads=1))
    together = inside.read(x, Y).gradient_norms
    alone = np.concatenate([inside.read(x[i : i + 1], Y[i : i + 1]).gradient_norms for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_half_precision_and_fixed_batches(build: Build, linear: SimpleNamespace) -> None:
    whole = OnnxArtifact(build(linear.nodes, linear.weights)).unpack().inner(x := rows(), Y)
    half = {key: value.astype(np.float16) for key, value in linear.weights.items()}
    kind = TensorProto.FLOAT16
    path = build(linear.nodes, half, inputs={"x": (kind, ["n", 6])}, outputs={"y": (kind, ["n", 3])})
    found = OnnxArtifact(path).unpack().inner(x, Y)
    np.testing.assert_allclose(found.gradient_norms, whole.gradient_norms, rtol=0.02)
    shapes = {"inputs": {"x": (TensorProto.FLOAT, [7, 6])}, "outputs": {"y": (TensorProto.FLOAT, [7, 3])}}
    fixed = OnnxArtifact(build(linear.nodes, linear.weights, **shapes)).unpack().inner(x, Y)
    np.testing.assert_allclose(fixed.gradient_norms, whole.gradient_norms, rtol=1e-5)
    assert [part.shape for part in fixed.activations] == [(5, 5), (5, 3)]


def test_no_samples_give_no_rows(build: Build, linear: SimpleNamespace) -> None:
    inner = OnnxArtifact(build(linear.nodes, linear.weights)).unpack().inner(rows(0, 6)[:0], Y[:0])
    assert inner.gradient_norms.shape == (0, 2)
    assert [part.shape for part in inner.activations] == [(0, 5), (0, 3)]


def test_an_unknown_operator_closes_every_layer_but_the_last(build: Build, linear: SimpleNamespace) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["p", "where"], kernel_shape=[1]),
        helper.make_node("ReverseSequence", ["x", "lengths"], ["q"], batch_axis=0, time_axis=1),
        *linear.nodes,
    ]
    nodes[3].input[0] = "q"
    weights = {**linear.weights, "lengths": np.ones(8, dtype=np.int64)}
    shapes = {"inputs": {"x": (TensorProto.FLOAT, [8, 6])}, "outputs": {"y": (TensorProto.FLOAT, [8, 3])}}
    path = build(nodes[2:], weights, **shapes)
    box = OnnxArtifact(path).unpack()
    assert box.features(rows()).penultimate.shape == (5, 5)
    with pytest.raises(Unopenable, match="does not know the operator ReverseSequence"):
        box.inner(rows(), Y)


def test_a_graph_that_answers_otherwise_in_torch_is_not_opened(
    build: Build, linear: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safedeploy.artifacts.onnx_import import OPERATORS

    monkeypatch.setitem(OPERATORS, "Relu", lambda _, x: x)
    with pytest.raises(Unopenable, match="answers differently"):
        OnnxInner(OnnxArtifact(build(linear.nodes, linear.weights)))


def test_samples_that_change_each_other_are_not_opened(build: Build, linear: SimpleNamespace) -> None:
    nodes = [helper.make_node("ReduceMean", ["x", "first"], ["m0"]), helper.make_node("Sub", ["x", "m0"], ["c"])]
    rest = [*linear.nodes]
    rest[0] = helper.make_node("MatMul", ["c", "a"], ["h"])
    path = build([*nodes, *rest], {**linear.weights, "first": np.array([0], dtype=np.int64)})
    with pytest.raises(Unopenable, match="each other"):
        OnnxArtifact(path).unpack().inner(rows(), Y)


def test_samples_behind_another_axis_go_one_by_one(build: Build, linear: SimpleNamespace) -> None:
    """Transposed before the first layer: that layer's rows are steps, not samples."""
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "v"], ["u"]),
        helper.make_node("ReduceSum", ["u", "axis"], ["h"], keepdims=0),
        *linear.nodes[1:],
    ]
    weights = {
        "split": np.array([-1, 3, 2], dtype=np.int64),
        "axis": np.array([0], dtype=np.int64),
        "v": RNG.standard_normal((2, 5)).astype(np.float32),
        "w": linear.w,
        "b": linear.b,
    }
    inside = OnnxInner(OnnxArtifact(build(nodes, weights)))
    assert inside._reader.alone
    x = rows()
    found = inside.read(x, Y).gradient_norms[:, 0]
    v = torch.from_numpy(weights["v"]).requires_grad_()
    for number in range(5):
        hidden = (torch.from_numpy(x[number]).reshape(3, 2) @ v).sum(0).relu()
        logits = hidden @ torch.from_numpy(linear.w) + torch.from_numpy(linear.b)
        loss = nn.functional.cross_entropy(logits[None], torch.from_numpy(Y[number : number + 1]))
        (gradient,) = torch.autograd.grad(loss, v)
        assert found[number] == pytest.approx(float(gradient.norm()), rel=1e-4)


def test_without_torch_the_last_layer_is_still_read(
    build: Build, linear: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("safedeploy.artifacts.onnx_i")]:
        monkeypatch.delitem(sys.modules, name)
    box = OnnxArtifact(build(linear.nodes, linear.weights)).unpack()
    assert box.features(rows()).penultimate.shape == (5, 5)
    with pytest.raises(Unopenable, match="needs the extra 'train'"):
        box.inner(rows(), Y)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "googlenet", "efficientnet_b0"])
def test_image_classifiers_of_the_onnx_zoo(name: str, tmp_path: Path) -> None:
    models: Any = torchvision("torchvision.models")
    more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=10, **more)
    with torch.no_grad():
        model(torch.randn(8, 3, 64, 64))
    path = tmp_path / "model.onnx"
    export_onnx(model.eval(), (3, 64, 64), path, opset=20, model_name=name)
    inside = OnnxInner(OnnxArtifact(path, threads=1))
    assert not inside._reader.alone
    assert len(inside.read(rows(2, 3, 64, 64), Y[:2]).layers) > 20


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False])
def test_bert_of_both_of_torchs_exporters(dynamo: bool, tmp_path: Path) -> None:
    torchvision("torchvision")  # transformers imports it, which fails beside a CPU-only torch unless done this way
    from transformers import BertConfig, BertForSequenceClassification

    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
            config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=16, num_labels=3)
            self.bert = BertForSequenceClassification(config)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = self.bert(input_ids=ids).logits
            return answers

    torch.manual_seed(0)
    model, path, ids = Answers().eval(), tmp_path / "bert.onnx", torch.zeros(2, 12, dtype=torch.int64)
    with torch.no_grad():
        for parameter in model.parameters():  # a bias of zeros is none to an exporter
            parameter += 0.1 * torch.randn_like(parameter)
    how: dict[str, Any] = {"opset_version": 14, "input_names": ["ids"], "dynamic_axes": {"ids": {0: "n"}}}
    if dynamo:
        how = {"opset_version": 20, "external_data": False, "dynamic_shapes": ({0: torch.export.Dim("n")},)}
    torch.onnx.export(model, (ids,), path, dynamo=dynamo, verbose=False, **how)
    x = RNG.integers(1, 50, (5, 12)).astype(np.float32)
    file = OnnxInner(OnnxArtifact(path, threads=1)).read(x, Y)
    reader = InnerReader(model, x[:3].astype(np.int64))
    _, module = reader.read(x.astype(np.int64), Y)
    for layer in ("bert.classifier", "bert.bert.pooler.dense", "bert.bert.embeddings.word_embeddings"):
        ours, theirs = (one.gradient_norms[:, one.layers.index(layer)] for one in (file, module))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
