"""A torch module in memory as an artifact: a checkpoint in training meets the attacks that the shipped file meets."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safedeploy.artifacts.base import Array, Features, Inner, Unopenable
from safedeploy.artifacts.batches import as_input, finite, in_batches
from safedeploy.artifacts.inner import InnerReader, in_parts, random_probes
from safedeploy.artifacts.tokens import takes_tokens

BATCH = 512


class TorchArtifact:
    """The module's modes, gradients and the global random state are after every call what they were before it."""

    format: Literal["torch"] = "torch"

    def __init__(
        self,
        module: nn.Module,
        name: str,
        input_shape: tuple[int, ...],
        classes: int,
        device: torch.device | str | None = None,
    ) -> None:
        """device: where the module already is; None looks at its first parameter."""
        self.module = module
        self.name = name
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.tokens = takes_tokens(module)
        self.device = torch.device(device) if device is not None else next(module.parameters()).device

    def logits(self, x: Array) -> Array:
        """(n, classes) float32, in evaluation mode."""
        x = as_input(x, self.input_shape, self.name)
        with untouched(self.module, self.device):
            return finite(in_batches(x, BATCH, lambda rows: (_array(self.forward(rows)),), pad=False)[0], self.name)

    def unpack(self) -> "TorchWhiteBox":
        return TorchWhiteBox(self)

    def forward(self, x: Array) -> Tensor:
        answers = self.module(torch.from_numpy(x).to(self.device))
        assert isinstance(answers, Tensor)
        return answers


class TorchWhiteBox:
    """One forward pass gives logits and the input of the last nn.Linear together."""

    def __init__(self, artifact: TorchArtifact) -> None:
        """Raises Unopenable where the module's output is not that of an nn.Linear."""
        self._artifact = artifact
        self.last = self._find_last()  # the nn.Linear that answers
        self._reader: InnerReader | None = None

    def features(self, x: Array) -> Features:
        artifact = self._artifact
        x = as_input(x, artifact.input_shape, artifact.name)
        with untouched(artifact.module, artifact.device):
            logits, penultimate = in_batches(x, BATCH, self._run, pad=False)
        return Features(logits=finite(logits, artifact.name), penultimate=penultimate)

    def inner(self, x: Array, y: NDArray[np.int64]) -> Inner:
        """Every module with parameters of its own is a layer; see `inner.py`."""
        artifact = self._artifact
        x = as_input(x, artifact.input_shape, artifact.name)
        with untouched(artifact.module, artifact.device):
            if self._reader is None:
                probes = random_probes(artifact.input_shape, tokens=artifact.tokens)
                self._reader = InnerReader(artifact.module, probes)
            return in_parts(self._reader, x, y, BATCH)

    def _run(self, x: Array) -> tuple[Array, Array]:
        seen: list[Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            answers = self._artifact.forward(x)
        finally:
            hook.remove()
        return _array(answers), _array(seen[-1]).reshape(len(x), -1)

    def _find_last(self) -> nn.Linear:
        ran: list[tuple[nn.Linear, Tensor]] = []
        hooks = [
            layer.register_forward_hook(lambda layer, _, output: ran.append((layer, output)))
            for layer in self._artifact.module.modules()
            if isinstance(layer, nn.Linear)
        ]
        try:
            with untouched(self._artifact.module, self._artifact.device):
                answers = self._artifact.forward(np.zeros((1, *self._artifact.input_shape), dtype=np.float32))
        finally:
            for hook in hooks:
                hook.remove()
        if not ran:
            raise Unopenable("the model has no linear layer")
        layer, output = ran[-1]
        ends = (output, output.log_softmax(-1)) if output.shape == answers.shape else ()
        if any(torch.allclose(end, answers) for end in ends):
            return layer
        raise Unopenable("the model's last layer is not linear")


@contextlib.contextmanager
def untouched(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; every submodule's mode and the random state come back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for part, training in modes:
            part.training = training


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)
