"""Several hooks as one: a method and the defences beside it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from safedeploy.training.hooks import Hooks

if TYPE_CHECKING:
    from torch import Tensor, nn

    from safedeploy.results import DpGuarantee
    from safedeploy.training.loop import Training


class Together(Hooks):
    """Every part's moments, in the order of `parts`; of `choose`, `loss` and `weight_decay` the first that answers."""

    def __init__(self, parts: Mapping[str, Hooks]) -> None:
        self.parts = dict(parts)
        self.alone = next((part.alone for part in self.parts.values() if part.alone), None)
        decays = (part.weight_decay for part in self.parts.values())
        self.weight_decay = next((decay for decay in decays if decay is not None), None)

    def check(self, module: "nn.Module") -> None:
        for part in self.parts.values():
            part.check(module)

    def begin(self, training: "Training") -> None:
        for part in self.parts.values():
            part.begin(training)

    def attach(self, training: "Training") -> None:
        for part in self.parts.values():
            part.attach(training)

    def choose(self, step: int, training: "Training") -> "Tensor | None":
        chosen = (part.choose(step, training) for part in self.parts.values())
        return next((positions for positions in chosen if positions is not None), None)

    def loss(self, logits: "Tensor", labels: "Tensor", training: "Training") -> "Tensor | None":
        losses = (part.loss(logits, labels, training) for part in self.parts.values())
        return next((loss for loss in losses if loss is not None), None)

    def loss_term(self, logits: "Tensor", labels: "Tensor", training: "Training") -> "Tensor | None":
        terms = [part.loss_term(logits, labels, training) for part in self.parts.values()]
        there = [term for term in terms if term is not None]
        return sum(there[1:], start=there[0]) if there else None

    def after_backward(self, training: "Training") -> None:
        for part in self.parts.values():
            part.after_backward(training)

    def after_step(self, training: "Training") -> None:
        for part in self.parts.values():
            part.after_step(training)

    def after_epoch(self, training: "Training") -> None:
        for part in self.parts.values():
            part.after_epoch(training)

    def finish(self, training: "Training") -> None:
        for part in self.parts.values():
            part.finish(training)

    def guarantee(self, training: "Training") -> "DpGuarantee | None":
        given = (part.guarantee(training) for part in self.parts.values())
        return next((one for one in given if one is not None), None)

    def state(self) -> dict[str, Any]:
        return {name: part.state() for name, part in self.parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.restore(state[name])

    def overrides(self, moment: str) -> bool:
        return any(part.overrides(moment) for part in self.parts.values())
