"""Where a method plugs into the one loop."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from safedeploy.training.loop import Training


class Hooks:
    """Does nothing anywhere: dense training. A method overrides the moments it needs."""

    takes_steps = False  # whether it calls `training.one_step`, and so cannot train beside others in one pass

    def begin(self, training: "Training") -> None:
        """Before the first step, on fresh weights (not on resume)."""

    def loss_term(self, logits: "Tensor", labels: "Tensor", training: "Training") -> "Tensor | None":
        """Added to the batch's mean cross-entropy; logits (b, classes), labels (b,)."""
        return None

    def after_backward(self, training: "Training") -> None:
        """Gradients are dense here; the masks are applied to them next."""

    def after_step(self, training: "Training") -> None:
        """The optimiser has stepped; `training.step` counts this step."""

    def finish(self, training: "Training") -> None:
        """After the last step."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs of this method: tensors, numbers, strings and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
