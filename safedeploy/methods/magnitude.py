"""`magnitude`: train dense, prune once by magnitude, fine-tune with the mask (Han et al. 2015).

Single weights by ERK budgets, or whole channels, ranked over the network.
"""

from pydantic import Field

from safedeploy.methods.base import Context, Options
from safedeploy.sparsity.structure import masks_by_magnitude, require_reachable
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class MagnitudeOptions(Options):
    """When the cut comes."""

    prune_at: float = Field(0.5, gt=0, lt=1, description="share of the steps trained dense before the cut")


class Magnitude(Hooks):
    def __init__(self, options: MagnitudeOptions, context: Context) -> None:
        self.options, self.context = options, context

    def begin(self, training: Training) -> None:
        """What cannot be cut so far fails before the training."""
        shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
        require_reachable(training.module, shape, density, structure)

    def after_step(self, training: Training) -> None:
        if training.step == max(1, round(self.options.prune_at * training.total_steps)):
            shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
            training.set_masks(masks_by_magnitude(training.module, shape, density, structure))


def make(options: MagnitudeOptions, context: Context) -> Hooks:
    return Magnitude(options, context)
