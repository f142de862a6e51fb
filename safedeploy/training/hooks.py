"""Where a method plugs into the one loop."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from safedeploy.results import DpGuarantee
    from safedeploy.training.loop import Training


class Hooks:
    """Does nothing anywhere: dense training. A method, or a defence beside it, overrides the moments it needs."""

    alone: str | None = None  # why it cannot train beside others in one pass, as what ends by itself cannot
    weight_decay: float | None = None  # in place of the recipe's

    def check(self, module: "nn.Module") -> None:
        """Before anything is written: raises UserError where this fresh module cannot be trained so."""

    def begin(self, training: "Training") -> None:
        """Before the first step, on fresh weights (not on resume). May set `training.targets`."""

    def attach(self, training: "Training") -> None:
        """Before this process's first step, begun or restored: what watches the module is put there, nothing drawn."""

    def choose(self, step: int, training: "Training") -> "Tensor | None":
        """Positions (b,) of a step's samples in `training.x`, in place of the epoch's shuffled batches.

        Asked more than once, it answers alike.
        """
        return None

    def loss(self, logits: "Tensor", labels: "Tensor", training: "Training") -> "Tensor | None":
        """In place of the batch's mean cross-entropy; logits (b, classes), labels (b,)."""
        return None

    def loss_term(self, logits: "Tensor", labels: "Tensor", training: "Training") -> "Tensor | None":
        """Added to the batch's loss; logits (b, classes), labels (b,)."""
        return None

    def after_backward(self, training: "Training") -> None:
        """Gradients are dense here; the masks are applied to them next."""

    def after_step(self, training: "Training") -> None:
        """The optimiser has stepped; `training.step` counts this step."""

    def after_epoch(self, training: "Training") -> None:
        """The epoch's last step is done; `training.stop()` makes it the last of all."""

    def finish(self, training: "Training") -> None:
        """After the last step."""

    def guarantee(self, training: "Training") -> "DpGuarantee | None":
        """The differential privacy of the training so far, where its mechanism gives any."""
        return None

    def state(self) -> dict[str, Any]:
        """What a resumed run needs of this method: tensors, numbers, strings and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def overrides(self, moment: str) -> bool:
        """Whether something happens at `moment`, a method's name."""
        return getattr(type(self), moment) is not getattr(Hooks, moment)
