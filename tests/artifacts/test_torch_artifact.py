"""A module in memory is the same artifact as its exported file, and is left as it was found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.torch import TorchArtifact

X = np.random.default_rng(6).standard_normal((600, 1, 8, 8), dtype=np.float32)


def test_the_exported_file_and_the_module_agree(convnet: Any, convnet_onnx: Path) -> None:
    module, file = TorchArtifact(convnet, "convnet", (1, 8, 8), 10), OnnxArtifact(convnet_onnx, threads=1)
    np.testing.assert_allclose(module.logits(X), file.logits(X), rtol=1e-4, atol=1e-5)
    ours, theirs = module.unpack().features(X), file.unpack().features(X)
    np.testing.assert_allclose(ours.penultimate, theirs.penultimate, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.logits, module.logits(X))


def test_the_module_is_left_as_it_was(convnet: Any) -> None:
    convnet.train()
    convnet[1].eval()
    sum(parameter.sum() for parameter in convnet.parameters()).backward()
    gradients = [parameter.grad.clone() for parameter in convnet.parameters()]
    buffers = {name: value.clone() for name, value in convnet.state_dict().items()}
    random_state = torch.get_rng_state()
    artifact = TorchArtifact(convnet, "convnet", (1, 8, 8), 10)
    artifact.logits(X)
    artifact.unpack().features(X)
    assert [part.training for part in convnet] == [True, False, True, True, True, True, True, True]
    assert all(torch.equal(parameter.grad, was) for parameter, was in zip(convnet.parameters(), gradients, strict=True))
    assert all(torch.equal(value, buffers[name]) for name, value in convnet.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in convnet)
    assert torch.is_grad_enabled()
    convnet.zero_grad(set_to_none=True)
    convnet.train()


def test_one_pass_gives_logits_and_penultimate() -> None:
    passes = []
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    white_box = TorchArtifact(model, "m", (6,), 3).unpack()
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    white_box.features(np.ones((20, 6), dtype=np.float32))
    assert len(passes) == 1


def test_the_last_layer_is_the_last_to_run_not_the_last_declared() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)
            self.body = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = self.head(self.body(x))
            return answers

    features = TorchArtifact(Crossed(), "m", (6,), 3).unpack().features(np.ones((2, 6), dtype=np.float32))
    assert features.penultimate.shape == (2, 4)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Tanh()), "not linear"),
        (nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Conv1d(6, 3, 1), nn.Flatten()), "no linear layer"),
    ],
)
def test_a_model_without_a_linear_end_is_not_opened(model: nn.Module, reason: str) -> None:
    with pytest.raises(Unopenable, match=reason):
        TorchArtifact(model, "m", (6,), 3).unpack()
