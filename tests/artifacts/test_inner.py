"""Per-sample gradient norms out of one batched backward pass are torch.func's vmap(grad), layer by layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.inner import InnerReader, weighted
from safedeploy.artifacts.torch import TorchArtifact

N, CLASSES = 5, 3
Y = np.array([0, 1, 2, 0, 1])


def vmap_norms(module: nn.Module, x: Tensor, layers: tuple[str, ...]) -> Any:
    """(n, L) by torch.func."""
    parameters = {name: one.detach() for name, one in module.named_parameters()}

    def loss(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        answers = torch.func.functional_call(module, parameters, (one[None],))
        return functional.cross_entropy(answers, label[None])

    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, torch.from_numpy(Y[: len(x)]))
    found = [
        sum(
            gradients[f"{name}.{own}"].flatten(1).double().square().sum(1)
            for own, _ in weighted(module)[name].named_parameters(recurse=False)
        )
        for name in layers
    ]
    return torch.stack([torch.as_tensor(one) for one in found], 1).sqrt().numpy()


def check(module: nn.Module, x: Tensor) -> InnerReader:
    reader = InnerReader(module.eval(), x[:3].numpy())
    logits, inner = reader.read(x.numpy(), Y[: len(x)])
    with torch.no_grad():
        np.testing.assert_allclose(logits, module(x).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(inner.gradient_norms, vmap_norms(module, x, inner.layers), rtol=1e-4, atol=1e-7)
    return reader


def convolution(kind: Any, axes: int, **how: Any) -> Callable[[], tuple[nn.Module, Tensor]]:
    def build() -> tuple[nn.Module, Tensor]:
        layer = kind(4, 6, 3, **how)
        model = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(CLASSES))
        x = torch.randn(N, 4, *[9, 8, 7][:axes])
        model(x)
        return model, x

    return build


def depthwise() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, 2, (1, 2), dilation=2, groups=4), nn.Flatten(), nn.LazyLinear(CLASSES))
    x = torch.randn(N, 4, 9, 8)
    model(x)
    return model, x


def pixel_convolution() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Conv2d(4, 6, 1, 2, 1, groups=2), nn.Flatten(), nn.LazyLinear(CLASSES))
    x = torch.randn(N, 4, 9, 8)
    model(x)
    return model, x


CONVOLUTIONS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "conv1d": convolution(nn.Conv1d, 1),
    "conv2d": convolution(nn.Conv2d, 2),
    "conv3d": convolution(nn.Conv3d, 3, stride=2),
    "stride, padding and dilation": convolution(nn.Conv2d, 2, stride=2, padding=(2, 1), dilation=(1, 2)),
    "groups": convolution(nn.Conv2d, 2, groups=2, padding=1),
    "same padding, uneven": convolution(nn.Conv2d, 2, padding="same", dilation=3),
    "reflected padding": convolution(nn.Conv2d, 2, padding=1, padding_mode="reflect"),
    "dilated 3d": convolution(nn.Conv3d, 3, padding=2, dilation=2),
    "one pixel, strided": pixel_convolution,
    "depthwise": depthwise,
    "no bias": convolution(nn.Conv2d, 2, bias=False),
}


@pytest.mark.parametrize("build", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(build: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    torch.manual_seed(0)
    check(*build())


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 20),
    out=st.integers(1, 20),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    size=st.integers(4, 9),
)
def test_any_convolution(channels: int, out: int, kernel: int, stride: int, padding: int, size: int) -> None:
    """Many places and few channels take the product, few places and many channels the Gram form."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, out, kernel, stride, padding), nn.Flatten(), nn.LazyLinear(CLASSES))
    x = torch.randn(3, channels, size, size)
    model(x)
    check(model, x)


class Sequence(nn.Module):
    """Tokens and positions embedded, a layer applied at each place, twice with the same weights, and normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(11, width, padding_idx=0)
        self.places = nn.Embedding(6, width)
        self.twice = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.words(x.long()) + self.places(torch.arange(x.shape[1])[None])
        hidden = self.norm(self.twice(torch.tanh(self.twice(hidden))))
        answers: Tensor = self.head(hidden.mean(1))
        return answers


@pytest.mark.parametrize("width", [2, 40])
def test_sequences_shared_layers_embeddings_and_positions(width: int) -> None:
    torch.manual_seed(0)
    check(Sequence(width), torch.randint(0, 11, (N, 6)).float())


def test_normalisations_with_an_activation_in_place_behind() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        nn.LayerNorm([4, 5, 5]),
        nn.Flatten(),
        nn.Linear(100, CLASSES),
    )
    x = torch.randn(N, 2, 7, 7)
    model(x)
    reader = check(model, x)
    _, inner = reader.read(x.numpy(), Y)
    assert inner.activations[1].min() < 0  # outputs, before the activation that overwrites them


def test_layers_that_only_automatic_differentiation_knows() -> None:
    torch.manual_seed(0)

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.pruned = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
            self.unused = nn.Linear(3, 3)
            self.head = nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.attention(x, x, x, need_weights=True)[0]
            answers: Tensor = self.head(torch.relu(self.pruned(hidden)).sum(1))
            return answers

    reader = check(Attending(), torch.randn(N, 4, 8))
    assert "unused" not in reader.names
    assert {"attention", "attention.out_proj", "head"} <= set(reader.names)


def test_a_batch_normalisation_over_the_batch_is_not_opened() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, CLASSES))
    with pytest.raises((Unopenable, ValueError)):
        InnerReader(model.eval(), np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32))


def test_a_model_without_weights_is_not_opened() -> None:
    with pytest.raises(Unopenable, match="no layer with weights"):
        InnerReader(nn.Softmax(1), np.zeros((3, 4), dtype=np.float32))


def test_the_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, CLASSES)).train()
    model[0].bias.requires_grad_(False)
    sum(one.sum() for one in model.parameters() if one.requires_grad).backward()
    gradients = [None if one.grad is None else one.grad.clone() for one in model.parameters()]
    state = torch.get_rng_state()
    x = np.ones((N, 4), dtype=np.float32)
    first = TorchArtifact(model, "m", (4,), CLASSES).unpack().inner(x, Y)
    assert [part.training for part in model] == [True, True, True]
    assert [one.requires_grad for one in model.parameters()] == [True, False, True, True]
    for parameter, before in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is None if before is None else torch.equal(parameter.grad, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks for part in model)
    np.testing.assert_array_equal(first.gradient_norms[0], first.gradient_norms[3])  # the same input and label


def test_many_samples_are_read_in_parts() -> None:
    model = nn.Linear(2, CLASSES)
    sizes = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    x = np.zeros((3000, 2), dtype=np.float32)
    inner = TorchArtifact(model, "m", (2,), CLASSES).unpack().inner(x, np.zeros(3000, dtype=np.int64))
    assert inner.gradient_norms.shape == (3000, 1)
    assert max(sizes) <= 512
