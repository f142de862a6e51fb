"""`magnitude`: train dense, prune once by magnitude, fine-tune with the mask (Han et al. 2015); budgets by ERK."""

from typing import Annotated

from pydantic import Field

from safedeploy.methods.base import Context, Options
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.masks import largest_masks, shapes
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class MagnitudeOptions(Options):
    """`prune_at`: share of the steps trained dense before the cut."""

    prune_at: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Magnitude(Hooks):
    def __init__(self, options: MagnitudeOptions, context: Context) -> None:
        self.options, self.density = options, context.density

    def begin(self, training: Training) -> None:
        erk(shapes(training.module), self.density)  # a density that cannot be met fails before the training

    def after_step(self, training: Training) -> None:
        if training.step == max(1, round(self.options.prune_at * training.total_steps)):
            training.set_masks(largest_masks(training.module, erk(shapes(training.module), self.density)))


def make(options: MagnitudeOptions, context: Context) -> Hooks:
    return Magnitude(options, context)
