"""What samples leave inside any torch module: every layer's output and per-sample gradient norm, batch by batch."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Array, Inner, Unopenable
from safedeploy.artifacts.ghost import norm_of, squared_norms
from safedeploy.artifacts.tokens import token_probes

TOLERANCE = 1e-3  # of the largest, between a sample alone and among others
ROUNDED_TOLERANCE = 0.05  # of the largest, for the median
EXPLICIT = 64_000_000  # elements of explicit per-sample gradients at once
PROBES = 3


@dataclass(eq=False)
class _Seen:
    """What one layer showed in one pass."""

    inputs: list[Tensor] = field(default_factory=list)
    gradients: dict[int, Tensor] = field(default_factory=dict)  # by call
    outputs: list[Array] = field(default_factory=list)
    squared: Tensor | None = None


class InnerReader:
    """Reads `layers` of `module` (all modules with parameters of their own, by default) in batches.

    `names`: the layers that an answer depends on, in the order of the forward pass. `alone`: samples are not kept apart
    along the first axis of some layer, so that each goes through in a batch of its own: exact, but slow.
    """

    def __init__(
        self,
        module: nn.Module,
        probe: Array,
        layers: Mapping[str, nn.Module] | None = None,
        batch: int | None = None,
        rounded: bool = False,
    ) -> None:
        """probe: (n, *input_shape), a few inputs. batch: how many rows the module takes, where only that many work.

        rounded: the module quantises, so that the last bit of a sum, which depends on the batch, can move an answer.
        Raises Unopenable where samples change each other's answers, or cannot be told apart.
        """
        self.module = module
        self._batch, self._rounded = batch, rounded
        given = weighted(module) if layers is None else dict(layers)
        self._layers = given
        self._explicit: set[str] = {name for name, layer in given.items() if norm_of(layer) is None}
        self.names = self._in_order(probe) if given else ()
        if not self.names:
            raise Unopenable("the model has no layer with weights")
        self._layers = {name: given[name] for name in self.names}
        self._explicit &= set(self.names)
        self.alone = False
        self.alone = not self._apart(probe)
        if self.alone and (batch or 1) > 1:
            raise Unopenable(f"the samples of its fixed batch of {batch} cannot be told apart in every layer")

    def read(self, x: Array, y: NDArray[np.int64]) -> tuple[NDArray[np.float32], Inner]:
        """Logits and what is inside, of a batch that the caller keeps small: all of it is in memory together."""
        size = 1 if self.alone else self._batch or max(len(x), 1)
        parts = [self._read(x[start : start + size], y[start : start + size]) for start in range(0, len(x), size)]
        if not parts:
            parts = [self._read(np.zeros((1, *x.shape[1:]), dtype=np.float32), np.zeros(1, dtype=np.int64))]
            parts = [(logits[:0], _rows(inner, 0)) for logits, inner in parts]
        return np.concatenate([logits for logits, _ in parts]), _joined([inner for _, inner in parts])

    def _read(self, x: Array, y: NDArray[np.int64]) -> tuple[NDArray[np.float32], Inner]:
        missing = (self._batch or len(x)) - len(x)
        if missing > 0:
            logits, inner = self._read(
                *(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) for part in (x, y))
            )
            return logits[: len(x)], _rows(inner, len(x))
        inputs, labels = self._tensors(x, y)
        with _frozen(self.module), torch.enable_grad():
            with self._watched(len(x)) as seen:
                logits = self.module(inputs)
                functional.cross_entropy(logits.float(), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
            explicit = self._explicit_norms(inputs, labels)
        norms = np.zeros((len(x), len(self.names)))
        for number, name in enumerate(self.names):
            squared = explicit[name] if name in self._explicit else seen[name].squared
            if squared is not None:
                norms[:, number] = squared.sqrt().cpu().numpy()
        activations = tuple(_activations(seen[name], len(x)) for name in self.names)
        return logits.detach().float().cpu().numpy(), Inner(self.names, activations, norms)

    def _tensors(self, x: Array, y: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        one = next(iter(self.module.parameters()), torch.zeros(()))
        return torch.from_numpy(x).to(one.device), torch.from_numpy(np.asarray(y, dtype=np.int64)).to(one.device)

    @contextlib.contextmanager
    def _watched(self, n: int) -> Iterator[dict[str, _Seen]]:
        """Hooks on every layer; a layer's gradients become norms as soon as the last of them is there."""
        seen = {name: _Seen() for name in self._layers}
        start = torch.zeros((), requires_grad=True)
        handles = [
            layer.register_forward_hook(self._hook(name, seen[name], n, start)) for name, layer in self._layers.items()
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()
        for name, one in seen.items():  # a call that the answer does not depend on has no gradient
            if one.squared is None and one.gradients:
                one.squared = self._squared(name, one, n)

    def _hook(self, name: str, seen: _Seen, n: int, start: Tensor) -> Callable[..., Tensor | None]:
        def watch(_: nn.Module, inputs: tuple[Tensor, ...], output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                first = next((part for part in _flat(output) if isinstance(part, Tensor)), None)
                if first is not None:
                    seen.outputs.append(_copied(first))
                return None
            if output.shape[:1] == (1,) and n > 1:  # the same for all samples until here: a position's embedding
                output = output.expand(n, *output.shape[1:])
            seen.outputs.append(_copied(output))
            if name in self._explicit or not output.is_floating_point():
                return output
            if not output.requires_grad:
                output = output + start.to(output)
            call = len(seen.inputs)
            x = inputs[0].detach()
            seen.inputs.append(x.expand(n, *x.shape[1:]) if x.shape[:1] == (1,) and n > 1 else x)

            def keep(gradient: Tensor) -> None:
                seen.gradients[call] = gradient
                if len(seen.gradients) == len(seen.inputs):
                    seen.squared = self._squared(name, seen, n)
                    seen.inputs.clear()
                    seen.gradients.clear()

            output.register_hook(keep)  # type: ignore[no-untyped-call]
            return output

        return watch

    def _squared(self, name: str, seen: _Seen, n: int) -> Tensor:
        calls = [(seen.inputs[call], gradient) for call, gradient in seen.gradients.items()]
        with torch.no_grad():
            return squared_norms(self._layers[name], calls, n)

    def _explicit_norms(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """By torch.func: gradients of each sample's loss by the parameters of layers without a form of their own."""
        if not self._explicit:
            return {}
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        owners = {
            names[id(parameter)]: owner
            for owner in self._explicit
            for parameter in self._layers[owner].parameters(recurse=False)
        }
        everything = dict(self.module.named_parameters())
        wanted = {name: everything[name].detach() for name in owners}

        def loss(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
            logits = torch.func.functional_call(self.module, parameters, (one[None],))
            return functional.cross_entropy(logits.float(), label[None])

        size = max(1, EXPLICIT // sum(parameter.numel() for parameter in wanted.values()))
        found = {owner: torch.zeros(len(x), dtype=torch.float64, device=x.device) for owner in self._explicit}
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(wanted, x[rows], y[rows])
            for name, gradient in gradients.items():
                found[owners[name]][rows] += gradient.detach().flatten(1).double().square().sum(1)
        return found

    def _in_order(self, probe: Array) -> tuple[str, ...]:
        """Layers by their first call; then those whose parameters are used without a call (attention's)."""
        rows = np.resize(probe[:1], (self._batch or 1, *probe.shape[1:]))
        inputs, labels = self._tensors(rows, np.zeros(len(rows), dtype=np.int64))
        order: list[str] = []
        handles = [
            layer.register_forward_hook(lambda *_, name=name: order.append(name))
            for name, layer in self._layers.items()
        ]
        with _frozen(self.module) as parameters, torch.enable_grad():
            for parameter in parameters:
                parameter.requires_grad_(parameter.is_floating_point())
            try:
                loss = functional.cross_entropy(self.module(inputs).float(), labels)
                own = {name: list(layer.parameters(recurse=False)) for name, layer in self._layers.items()}
                flat = [parameter for mine in own.values() for parameter in mine if parameter.requires_grad]
                gradients = torch.autograd.grad(loss, flat, allow_unused=True)
            finally:
                for handle in handles:
                    handle.remove()
        used = {id(parameter) for parameter, gradient in zip(flat, gradients, strict=True) if gradient is not None}
        called = [name for name in dict.fromkeys(order) if any(id(parameter) in used for parameter in own[name])]
        silent = [name for name, mine in own.items() if name not in order and any(id(one) in used for one in mine)]
        self._explicit |= set(silent)
        return (*called, *silent)

    def _apart(self, probe: Array) -> bool:
        """Whether a batch gives each sample the norms it gets alone. Raises Unopenable where answers differ already."""
        x = probe[:PROBES]
        labels = np.zeros(len(x), dtype=np.int64)
        alone = [self._read(x[row : row + 1], labels[row : row + 1]) for row in range(len(x))]
        try:
            logits, inner = self._read(x, labels)
        except RuntimeError:  # a graph for one sample at a time
            return False
        single = np.concatenate([one for one, _ in alone])
        if not self._same(logits, single):
            raise Unopenable("samples change each other's answers within a batch")
        return self._same(inner.gradient_norms, np.concatenate([one.gradient_norms for _, one in alone]))

    def _same(self, values: NDArray[np.floating[Any]], wanted: NDArray[np.floating[Any]]) -> bool:
        wrong = np.abs(values - wanted) / max(float(np.abs(wanted).max()), 1e-30)
        return bool(np.median(wrong) < ROUNDED_TOLERANCE if self._rounded else wrong.max() < TOLERANCE)


def in_parts(reader: InnerReader, x: Array, y: NDArray[np.int64], size: int) -> Inner:
    """What is inside, of any number of samples, `size` at a time."""
    starts = range(0, max(len(x), 1), size)
    return _joined([reader.read(x[start : start + size], y[start : start + size])[1] for start in starts])


def random_probes(input_shape: tuple[int, ...], *, tokens: bool = False) -> Array:
    if tokens:
        return token_probes(PROBES, input_shape, 1)
    return np.random.default_rng(1).standard_normal((PROBES, *input_shape), dtype=np.float32)


def weighted(module: nn.Module) -> dict[str, nn.Module]:
    """Every module with parameters of its own, by its name."""
    return {name or type(part).__name__: part for name, part in module.named_modules() if _own(part)}


def _own(part: nn.Module) -> bool:
    return any(parameter.is_floating_point() for parameter in part.parameters(recurse=False))


@contextlib.contextmanager
def _frozen(module: nn.Module) -> Iterator[list[nn.Parameter]]:
    """No parameter asks for a gradient, which saves that third of a backward pass; afterwards each does as before."""
    before = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(False)
    try:
        yield [parameter for parameter, _ in before]
    finally:
        for parameter, asked in before:
            parameter.requires_grad_(asked)


def _flat(output: object) -> Sequence[object]:
    if isinstance(output, Mapping):
        return list(output.values())
    return output if isinstance(output, tuple | list) else []


def _copied(output: Tensor) -> Array:
    """A copy, since a layer behind may write into it."""
    return np.array(output.detach().float().cpu().numpy(), dtype=np.float32)


def _activations(seen: _Seen, n: int) -> Array:
    parts = [part.reshape(n, -1) for part in seen.outputs if part.size and part.size % n == 0]
    return np.concatenate(parts, axis=1) if parts else np.zeros((n, 0), dtype=np.float32)


def _rows(inner: Inner, stop: int) -> Inner:
    return Inner(inner.layers, tuple(part[:stop] for part in inner.activations), inner.gradient_norms[:stop])


def _joined(parts: Sequence[Inner]) -> Inner:
    if len(parts) == 1:
        return parts[0]
    activations = tuple(np.concatenate(layer) for layer in zip(*(part.activations for part in parts), strict=True))
    return Inner(parts[0].layers, activations, np.concatenate([part.gradient_norms for part in parts]))
