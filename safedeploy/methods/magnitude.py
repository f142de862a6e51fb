"""`magnitude`: train dense, prune by magnitude, fine-tune with the mask: at once (Han et al. 2015), or little by little
(Zhu and Gupta 2017, 'To prune, or not to prune').

Single weights by ERK budgets, or whole channels, ranked over the network.
"""

from typing import Self

from pydantic import Field, model_validator
from torch import nn

from safedeploy.methods.base import Context, Options
from safedeploy.methods.gradual import falling, require_gradual
from safedeploy.sparsity.structure import masks_by_magnitude, require_reachable
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

CUTS = 50  # at least, that gradual pruning is made of, where there are as many steps


class MagnitudeOptions(Options):
    """When the cut comes."""

    prune_at: float = Field(0.5, gt=0, lt=1, description="share of the steps after which the cut is done")
    prune_from: float | None = Field(
        None,
        ge=0,
        description="share of the steps after which weights begin to go, in some 50 cuts until `prune_at`, most of them"
        " early; by default all go at `prune_at`",
    )

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.prune_from is not None and self.prune_from >= self.prune_at:
            raise ValueError(f"prune_from {self.prune_from:g} is not before prune_at {self.prune_at:g}")
        return self


class Magnitude(Hooks):
    def __init__(self, options: MagnitudeOptions, context: Context) -> None:
        self.options, self.context = options, context

    def check(self, module: nn.Module) -> None:
        if self.options.prune_from is not None:
            require_gradual(self.context.structure, "prune_from")

    def begin(self, training: Training) -> None:
        """What cannot be cut so far fails before the training."""
        shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
        require_reachable(training.module, shape, density, structure)

    def attach(self, training: Training) -> None:
        training.cutting = training.step < self.cuts(training)[-1]

    def after_step(self, training: Training) -> None:
        cuts = self.cuts(training)
        if training.step in cuts:
            left = (cuts[-1] - training.step) / (cuts[-1] - cuts[0] + cuts.step)
            density = falling(left, self.context.density)
            shape, structure = self.context.input_shape, self.context.structure
            training.set_masks(masks_by_magnitude(training.module, shape, density, structure))
            training.cutting = training.step < cuts[-1]

    def cuts(self, training: Training) -> range:
        """The steps after which weights go; the last is that of `prune_at`."""
        last = max(1, round(self.options.prune_at * training.total_steps))
        start = self.options.prune_from
        first = last - 1 if start is None else min(last - 1, round(start * training.total_steps))
        return range(last, first, -max(1, (last - first) // CUTS))[::-1]


def make(options: MagnitudeOptions, context: Context) -> Hooks:
    return Magnitude(options, context)
