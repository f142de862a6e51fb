"""A .pte file rebuilt as a module has the exported model's own weights and answers as the runtime does."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.pte.rebuild import rebuild
from safedeploy.artifacts.pte.rounding import sum_on_grid
from safedeploy.artifacts.pte.xnnpack import Scales, Value
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.export.executorch import export_int8_pte, export_pte
from safedeploy.export.targets import Quantisation
from safedeploy.models.zoo import build_model

MODELS = [
    ("mlp", (30,)),
    ("lenet5", (1, 28, 28)),
    *(
        pytest.param(name, (3, 32, 32), marks=pytest.mark.slow)
        for name in ("alexnet", "mobilenet_v2", "resnet18", "vgg16")
    ),
]
SLOW_INT8 = [MODELS[0], pytest.param("lenet5", (1, 28, 28), marks=pytest.mark.slow), *MODELS[2:]]
each_model = pytest.mark.parametrize(("name", "shape"), MODELS)
Exported = Callable[..., tuple[nn.Module, Path]]


def samples(shape: tuple[int, ...], n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n, *shape), dtype=np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """(the model in evaluation mode, its file), made once for a model and a precision."""
    made: dict[tuple[str, bool], tuple[nn.Module, Path]] = {}

    def make(name: str, shape: tuple[int, ...], int8: bool) -> tuple[nn.Module, Path]:
        if (name, int8) not in made:
            module = build_model(name, shape, 10, seed=1)
            with torch.no_grad():
                module(torch.from_numpy(samples(shape, 16)))  # running statistics that are not 0 and 1
            path = tmp_path_factory.mktemp(name) / ("model.int8.pte" if int8 else "model.pte")
            if int8:
                calibration = samples(shape, 32)
                export_int8_pte(module.eval(), shape, path, calibration, Quantisation(), model_name=name)
            else:
                export_pte(module.eval(), shape, path, model_name=name)
            made[name, int8] = (module, path)
        return made[name, int8]

    return make


def layers(module: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


@each_model
def test_a_float32_file_answers_as_the_runtime_does(exported: Exported, name: str, shape: tuple[int, ...]) -> None:
    _, path = exported(name, shape, False)
    artifact = ExecuTorchArtifact(path)
    x = samples(shape, 20, seed=1)
    wanted = artifact.logits(x)
    answers = TorchArtifact(rebuild(path.read_bytes()), name, shape, 10).logits(x)
    assert np.abs(answers - wanted).max() < 1e-4 * np.abs(wanted).max()
    np.testing.assert_array_equal(artifact.unpack().features(x).logits, answers)


@pytest.mark.parametrize(("name", "shape"), SLOW_INT8)
def test_an_int8_file_answers_as_the_runtime_does(exported: Exported, name: str, shape: tuple[int, ...]) -> None:
    """The bound is that of ONNX's white box; most answers are the same integers."""
    _, path = exported(name, shape, True)
    artifact = ExecuTorchArtifact(path)
    x = samples(shape, 20, seed=1)
    wanted = artifact.logits(x)
    answers = artifact.unpack().features(x).logits
    wrong = np.abs(answers - wanted) / np.abs(wanted).max()
    assert np.median(wrong) < 0.05
    assert (wrong < 1e-6).mean() > 0.95
    np.testing.assert_array_equal(answers.argmax(1), wanted.argmax(1))


@pytest.mark.parametrize(("name", "shape"), [MODELS[0], MODELS[1], MODELS[2]])
def test_float32_weights_are_the_models_own(exported: Exported, name: str, shape: tuple[int, ...]) -> None:
    module, path = exported(name, shape, False)
    for mine, theirs in zip(layers(rebuild(path.read_bytes())), layers(module), strict=True):
        torch.testing.assert_close(mine.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.slow
def test_batch_normalisation_is_found_folded_into_the_weights(exported: Exported) -> None:
    """As torch's own folding does it, in the order of VGG16's convolutions."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    module, path = exported("vgg16", (3, 32, 32), False)
    parts = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    folded = [fuse_conv_bn_eval(conv, norm) for conv, norm in zip(parts[::2], parts[1::2], strict=True)]
    found = [layer for layer in layers(rebuild(path.read_bytes())) if isinstance(layer, nn.Conv2d)]
    for mine, theirs in zip(found, folded, strict=True):
        torch.testing.assert_close(mine.weight, theirs.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(mine.bias, theirs.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), SLOW_INT8[:3])
def test_int8_weights_are_the_models_own_within_a_step(exported: Exported, name: str, shape: tuple[int, ...]) -> None:
    """A step is the channel's largest weight over 127; zeros stay zeros."""
    module, path = exported(name, shape, True)
    for mine, theirs in zip(layers(rebuild(path.read_bytes())), layers(module), strict=True):
        step = theirs.weight.detach().flatten(1).abs().amax(1) / 127
        difference = (mine.weight - theirs.weight).detach().flatten(1).abs().amax(1)
        assert (difference < step).all()
        assert not mine.weight[theirs.weight == 0].any()


def test_features_are_those_of_the_exported_model(exported: Exported) -> None:
    module, path = exported("lenet5", (1, 28, 28), False)
    x = samples((1, 28, 28), 30, seed=2)
    wanted = TorchArtifact(module, "m", (1, 28, 28), 10).unpack().features(x)
    found = ExecuTorchArtifact(path).unpack().features(x)
    np.testing.assert_allclose(found.penultimate, wanted.penultimate, atol=1e-5)
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-5)


@pytest.mark.parametrize("int8", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradient_norms_are_those_of_the_exported_model(exported: Exported, int8: bool) -> None:
    """Autograd's, sample by sample on the original; int8 rounds answers and weights, so its norms are near."""
    module, path = exported("lenet5", (1, 28, 28), int8)
    module = copy.deepcopy(module).eval()
    x, y = samples((1, 28, 28), 12, seed=3), np.arange(12) % 10
    found = ExecuTorchArtifact(path).unpack().inner(x, y)
    assert found.layers == ("conv1", "conv2", "linear1", "linear2", "linear3")
    wanted = np.zeros((12, 5))
    for row in range(12):
        module.zero_grad()
        functional.cross_entropy(module(torch.from_numpy(x[row : row + 1])), torch.tensor(y[row : row + 1])).backward()
        for column, layer in enumerate(layers(module)):
            gradients = [parameter.grad.flatten() for parameter in layer.parameters() if parameter.grad is not None]
            wanted[row, column] = torch.cat(gradients).norm()
    np.testing.assert_allclose(found.gradient_norms, wanted, rtol=0.1 if int8 else 1e-3)


def test_int8_answers_of_a_sample_do_not_depend_on_its_batch(exported: Exported) -> None:
    """Sums of integers come out the same in whatever order floats add them."""
    _, path = exported("mlp", (30,), True)
    white_box = ExecuTorchArtifact(path).unpack()
    x = samples((30,), 300, seed=4)
    alone = np.concatenate([white_box.features(row[None]).logits for row in x])
    np.testing.assert_array_equal(white_box.features(x).logits, alone)


def test_rebuilding_leaves_the_global_random_state(exported: Exported) -> None:
    _, path = exported("mlp", (30,), False)
    before = torch.get_rng_state()
    ExecuTorchArtifact(path).unpack()
    assert torch.equal(torch.get_rng_state(), before)


def test_an_int8_sum_rounds_a_half_up_as_xnnpack_does() -> None:
    """By hand: steps of 1 summed on steps of 2; 1, 3 and -1 lie half-way and go to 2, 4 and 0 (to even: 0, 4, 0)."""
    one, two = (Value((3,), "qint8", None, Scales(np.array([step], dtype=np.float32)), None) for step in (1.0, 2.0))
    add = sum_on_grid(one, one, two, None)
    assert add is not None
    a, b = torch.tensor([1.0, 2.0, -3.0], requires_grad=True), torch.tensor([0.0, 1.0, 2.0])
    total = add(a, b)
    assert total.tolist() == [2.0, 4.0, 0.0]
    total.sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [1.0, 1.0, 1.0]
