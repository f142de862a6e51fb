"""Quantisation-aware training: from some step on the loss is that of rounded weights, and what it changes are the exact
ones (the straight-through estimator: Bengio et al. 2013; Jacob et al. 2018, section 3)."""

from typing import Any

import torch
from torch import Tensor, nn

from safedeploy.methods.base import Context
from safedeploy.methods.grids import fitted_palette, int8_step, largest, nearest
from safedeploy.recipe import Quantise
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
STABLE = 3  # roundings after which another changes nothing, as the step of a channel follows its largest value


class QuantisationAware(Hooks):
    """Rounded weights are in the module from the end of a step to the next backward pass, exact ones while it steps.

    Any method's masks hold: what they remove is zero in both. A layer whose answers a batch norm takes is rounded as
    exporters round it, with the norm's scale and running variance folded in. Biases and activations stay as they are.
    """

    def __init__(self, values: Quantise, begins: float, context: Context) -> None:
        """begins: share of the steps before the first on rounded weights."""
        self.values, self.begins, self.context = values, begins, context
        self.exact: dict[str, Tensor] = {}  # of the weights that are rounded in the module
        self.palettes: dict[str, Tensor] = {}
        self._memory: dict[str, Tensor] = {}  # what held them a step ago
        self._rounded: list[str] | None = None
        self._norms: dict[str, nn.Module] | None = None

    def after_backward(self, training: Training) -> None:
        with torch.no_grad():
            for name, weight in self.exact.items():
                training.parameters[name].copy_(weight)
        self._memory, self.exact = self.exact, {}

    def after_step(self, training: Training) -> None:
        first = max(1, round(self.begins * training.total_steps))
        if training.step < first:
            return
        if (training.step - first) % training.steps_per_epoch == 0:
            self.palettes = {}
        for name in self._names(training):
            weight = training.parameters[name].detach()
            memory = self._memory.get(name)
            self.exact[name] = weight.clone() if memory is None else memory.copy_(weight)
        self._round(training)

    def finish(self, training: Training) -> None:
        """The module keeps values that exporters leave as they are."""
        if self.exact:
            for _ in range(STABLE):
                self._round(training)
            self.exact = {}

    @torch.no_grad()
    def _round(self, training: Training) -> None:
        for name in self._names(training):
            weight, fold = training.parameters[name], self._fold(name, training)
            if self.values == "int8":
                step = int8_step(largest(weight)) if fold is None else int8_step(largest(weight) * fold.abs()) / fold
                step = step.view(-1, *[1] * (weight.dim() - 1))
                weight.div_(step).round_().mul_(step)  # in place: memory afresh at every step costs more than the sums
                continue
            folded = weight if fold is None else weight * (fold := fold.view(-1, *[1] * (weight.dim() - 1)))
            if name not in self.palettes:
                self.palettes[name] = fitted_palette(folded, int(self.values.removeprefix("palette")))
            rounded = nearest(folded, self.palettes[name].to(folded.device))
            weight.copy_(rounded if fold is None else rounded / fold)

    def _names(self, training: Training) -> list[str]:
        """The weights that are rounded; one that two layers share has one name."""
        if self._rounded is None:
            layers = training.module.named_modules()
            named = [f"{name}.weight" if name else "weight" for name, layer in layers if isinstance(layer, LAYERS)]
            self._rounded = [name for name in named if name in training.parameters]
        return self._rounded

    def _fold(self, name: str, training: Training) -> Tensor | None:
        """(outputs,): what a batch norm multiplies each output channel by, 1 where that is zero."""
        if self._norms is None:
            self._norms = _norms_behind(training.module, self.context.input_shape, training.y.device)
        norm: Any = self._norms.get(name)
        if norm is None:
            return None
        scale: Tensor = norm.weight / (norm.running_var + norm.eps).sqrt()
        return torch.where(scale == 0, 1, scale)

    def state(self) -> dict[str, Any]:
        return {"exact": self.exact, "palettes": self.palettes}

    def restore(self, state: dict[str, Any]) -> None:
        self.exact, self.palettes = state["exact"], state["palettes"]


def _norms_behind(module: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> dict[str, nn.Module]:
    """Weights of the layers whose answers a batch norm takes directly, with that norm; found by one zero input."""
    if not any(isinstance(layer, NORMS) for layer in module.modules()):
        return {}
    found: dict[str, nn.Module] = {}
    latest: tuple[str, Tensor] | None = None

    def answered(name: str) -> Any:
        def note(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
            nonlocal latest
            latest = (name, answer)

        return note

    def asked(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        if latest is not None and given[0] is latest[1] and norm.weight is not None:
            found[latest[0]] = norm

    modes = {layer: layer.training for layer in module.modules()}
    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, LAYERS):
            hooks.append(layer.register_forward_hook(answered(f"{name}.weight" if name else "weight")))
        elif isinstance(layer, NORMS):
            hooks.append(layer.register_forward_pre_hook(asked))
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in modes.items():
            layer.training = mode
    return found
