"""Rewritten ONNX files against full exports, and what is never rewritten."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.export import reweight
from safedeploy.export.onnx import export_onnx
from safedeploy.export.reweight import Exporter, make_template, tensors
from safedeploy.models.zoo import build_model

IMAGE = (1, 8, 8)
X = np.random.default_rng(0).standard_normal((16, *IMAGE)).astype(np.float32)


def drawn(name: str, seed: int) -> nn.Module:
    """A zoo model whose every tensor, running statistics too, is drawn anew."""
    module = build_model(name, IMAGE, 5, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.4 + 0.1)
    return module


def exporter(x: np.ndarray = X) -> Exporter:
    return Exporter(IMAGE, opset=20, model_name="m", x=x)


@pytest.mark.parametrize("name", ["mlp", pytest.param("lenet5", marks=pytest.mark.slow)])
def test_a_rewritten_file_is_the_full_export_byte_for_byte(name, tmp_path):
    export = exporter()
    for seed in range(3):
        module = drawn(name, seed)
        export.export(module, tmp_path / "rewritten.onnx")
        with torch.no_grad():
            answers = module(torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(OnnxArtifact(tmp_path / "rewritten.onnx").logits(X), answers, rtol=1e-4, atol=1e-4)
    assert export.rewritten == 1  # the first two are exported in full: the template and its proof
    export_onnx(module, IMAGE, tmp_path / "full.onnx", opset=20, model_name="m")
    assert (tmp_path / "rewritten.onnx").read_bytes() == (tmp_path / "full.onnx").read_bytes()


class Normed(nn.Module):
    """Batch normalisation, which the exporter folds into the weights before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Scaled(nn.Module):
    """A constant that the exporter computes from a weight, beside weights that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 5)
        self.scale = nn.Parameter(torch.rand(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)) * (self.scale.exp() + 1.0)


@pytest.mark.parametrize("kind", [Normed, Scaled])
def test_what_the_exporter_computes_from_weights_answers_right_all_the_same(kind, tmp_path):
    export = exporter()
    for seed in range(3):
        torch.manual_seed(seed)
        module = kind().eval()
        for name, tensor in module.state_dict().items():
            if "running" in name:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
        export.export(module, tmp_path / "m.onnx")
        with torch.no_grad():
            answers = module(torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(OnnxArtifact(tmp_path / "m.onnx").logits(X), answers, rtol=1e-4, atol=1e-4)
    if kind is Normed:
        assert export.rewritten == 0


def test_a_file_that_answers_otherwise_is_exported_in_full_instead(tmp_path, monkeypatch):
    export = exporter()
    for seed in range(2):
        export.export(drawn("mlp", seed), tmp_path / "m.onnx")
    monkeypatch.setattr(reweight, "tensors", lambda module: tensors(drawn("mlp", 7)))  # other weights than the module's
    module = drawn("mlp", 3)
    export.export(module, tmp_path / "m.onnx")
    assert export.rewritten == 0
    with torch.no_grad():
        answers = module(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(OnnxArtifact(tmp_path / "m.onnx").logits(X), answers, rtol=1e-4, atol=1e-4)


def test_equal_tensors_are_told_apart_by_name_or_not_at_all(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, 5)).eval()
    for layer in (module[1], module[2]):
        nn.init.ones_(layer.bias)
    export_onnx(module, IMAGE, tmp_path / "m.onnx", opset=20, model_name="m")
    model, weights = onnx.load(tmp_path / "m.onnx"), tensors(module)
    template = make_template(model, weights)
    assert template is not None
    assert template.filled(weights) == (tmp_path / "m.onnx").read_bytes()
    for number, initialiser in enumerate(model.graph.initializer):
        initialiser.name = f"renamed{number}"
    assert make_template(model, weights) is None


def test_a_transposed_weight_is_written_transposed():
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 3])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 2])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )
    template = make_template(onnx.helper.make_model(graph), {"layer.weight": weight})
    assert template is not None
    filled = onnx.load_model_from_string(template.filled({"layer.weight": weight * 2}))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(filled.graph.initializer[0]), weight.T * 2)
