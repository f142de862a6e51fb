"""Dynamic sparse training: start sparse, and at every interval prune some weights and grow as many elsewhere."""

from typing import Any

from pydantic import Field
from torch import Tensor

from safedeploy.methods.base import Context, Options
from safedeploy.seeds import torch_generator
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.masks import largest_masks, random_masks, rescale, shapes
from safedeploy.sparsity.update import cosine_rate, update
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

MIN_UPDATES = 8  # so that a short training is dynamic too, and SafeCompress tests at least once


class DynamicOptions(Options):
    """When and how much a dynamic sparse training changes its masks."""

    interval: int = Field(
        100,
        ge=2,
        description="steps from one update to the next (100 in RigL); fewer where a short training would have fewer"
        " than 8 updates",
    )
    rate_start: float = Field(
        0.5, gt=0, lt=1, description="share of each layer's weights replaced at first, falling along a cosine"
    )
    rate_end: float = Field(0.005, ge=0, lt=1, description="share of each layer's weights replaced at last")
    stop_at: float = Field(
        0.75, gt=0, le=1, description="share of the steps after which the masks stay as they are (0.75 in RigL)"
    )
    gradient_steps: int = Field(
        10,
        ge=1,
        description="batches whose gradients are summed for gradient growth, at most those since the last update: one"
        " small batch alone grows what is noise in it",
    )


class DynamicSparse(Hooks):
    """ERK masks at the start, one `strategy` = (prune rule, grow rule) at every interval.

    Fresh weights are masked at random and rescaled; of trained ones (`--init`) the largest are kept as they are.
    """

    def __init__(self, options: DynamicOptions, context: Context, strategy: tuple[str, str]) -> None:
        self.options, self.context, self.strategy = options, context, strategy
        self._gradients: dict[str, Tensor] = {}

    def begin(self, training: Training) -> None:
        counts = erk(shapes(training.module), self.context.density)
        if self.context.model.init is not None:
            training.set_masks(largest_masks(training.module, counts))
            return
        masks = random_masks(training.module, counts, torch_generator(self.context.seed, "masks"))
        training.set_masks(masks)
        rescale(training.masked_weights(), masks)

    def last_update(self, training: Training) -> int:
        return max(1, int(self.options.stop_at * training.total_steps))

    def interval(self, training: Training) -> int:
        return max(2, min(self.options.interval, self.last_update(training) // MIN_UPDATES))

    def gradient_steps(self, training: Training) -> int:
        return min(self.options.gradient_steps, self.interval(training) - 1)

    def due(self, training: Training, step: int) -> bool:
        return 0 < step <= self.last_update(training) and step % self.interval(training) == 0

    def after_backward(self, training: Training) -> None:
        """Sum the dense gradients of the last steps before an update."""
        ahead = -(training.step + 1) % self.interval(training)
        if ahead >= self.gradient_steps(training) or not self.due(training, training.step + 1 + ahead):
            return
        fresh = training.dense_gradients()
        for name, earlier in self._gradients.items():
            fresh[name] += earlier.to(fresh[name].device)  # a checkpoint is read on the CPU
        self._gradients = fresh

    def after_step(self, training: Training) -> None:
        if self.due(training, training.step):
            gradients, self._gradients = self._gradients, {}
            self.change(training, gradients)

    def state(self) -> dict[str, Any]:
        return {"gradients": self._gradients}

    def restore(self, state: dict[str, Any]) -> None:
        self._gradients = state["gradients"]

    def change(self, training: Training, gradients: dict[str, Tensor]) -> None:
        training.set_masks(self.candidate(training, gradients, self.strategy))

    def candidate(
        self, training: Training, gradients: dict[str, Tensor], strategy: tuple[str, str]
    ) -> dict[str, Tensor]:
        """The masks `strategy` proposes at this step."""
        rate = cosine_rate(training.step, self.last_update(training), self.options.rate_start, self.options.rate_end)
        generator = torch_generator(self.context.seed, "grow", training.step)
        return update(strategy, training.masked_weights(), training.masks, gradients, rate, generator)
