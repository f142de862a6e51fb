"""Dynamic sparse training: start sparse, and at every interval prune some weights and grow as many elsewhere."""

from functools import partial
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from safedeploy.methods.base import Context, Options
from safedeploy.methods.gradual import falling, require_gradual
from safedeploy.seeds import torch_generator
from safedeploy.sparsity import prune
from safedeploy.sparsity.masks import Masks, rescale
from safedeploy.sparsity.structure import at_random, counts_of, largest, structured
from safedeploy.sparsity.units import Kept, Tensors, Units
from safedeploy.sparsity.update import cosine_rate, looks_at_gradients, update
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
    shrink_until: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the steps over which weights go, from all of them, most of them early; by default the"
        " network is sparse from its first step",
    )
    gradient_steps: int = Field(
        10,
        ge=1,
        description="batches whose gradients are summed for gradient growth, at most those since the last update: one"
        " small batch alone grows what is noise in it",
    )

    @model_validator(mode="after")
    def _shrinks_while_it_updates(self) -> Self:
        if self.shrink_until is not None and self.shrink_until > self.stop_at:
            raise ValueError(f"shrink_until {self.shrink_until:g} is after the last update, stop_at {self.stop_at:g}")
        return self


class DynamicSparse(Hooks):
    """ERK masks at the start, one `strategy` = (prune rule, grow rule) at every interval, on units of the structure.

    With `shrink_until` it starts with every weight, and at each update what is smallest goes first, down to ERK's
    counts at a density that falls along a cubic (GraNet, Liu et al. 2021: gradual pruning with regeneration).

    Fresh weights are masked at random and rescaled; of trained ones (`--init`) the largest are kept as they are. A
    dormant channel keeps the weights it is computed with, which get no gradient, and is read with weights of zero: it
    changes no answer, and their gradients tell whether it would help. So does a filter; were its own weights zero, a
    ReLU would give it no gradient and it would stay dead. At the end nothing of either is left.
    """

    units: Units

    def __init__(self, options: DynamicOptions, context: Context, *strategies: tuple[str, str]) -> None:
        """strategies: the first is in use until `strategy` names another of them."""
        self.options, self.context, self.strategy = options, context, strategies[0]
        self._looks = any(looks_at_gradients(strategy) for strategy in strategies)
        self._gradients: dict[str, Tensor] = {}
        self._library: Tensor | None = None  # of a restored training

    def check(self, module: nn.Module) -> None:
        if self.options.shrink_until is not None:
            require_gradual(self.context.structure, "shrink_until")

    def begin(self, training: Training) -> None:
        self.units = structured(training.module, self.context.input_shape, self.context.structure)
        counts = counts_of(self.units, self.density(training))
        if self.context.model.init is not None or self.options.shrink_until is not None:
            kept = largest(self.units, self.units.pool(training.parameters), counts)
        else:
            drawn = at_random(self.units, counts, torch_generator(self.context.seed, "masks"))
            kept = {name: places.to(training.y.device) for name, places in drawn.items()}
        training.set_masks(self._masks(kept, training.parameters))
        if self.context.model.init is None and self.options.shrink_until is None:
            prunable = {name: mask for name, mask in training.masks.items() if name in self.units.prunable}
            rescale(training.masked_weights(), prunable)

    def attach(self, training: Training) -> None:
        if not hasattr(self, "units"):  # restored
            shape, structure = self.context.input_shape, self.context.structure
            self.units = structured(training.module, shape, structure, self._library)
        training.cutting = training.step < self.shrunk(training)
        device = training.y.device  # a checkpoint is read on the CPU
        self._gradients = {name: gradient.to(device) for name, gradient in self._gradients.items()}

    def finish(self, training: Training) -> None:
        if self._dormant:
            training.set_masks(self.units.spread(self._held(training)))

    @property
    def _dormant(self) -> bool:
        return self.context.structure in ("channel", "filter")

    def _held(self, training: Training) -> Kept:
        return self.units.held(training.masks, reading=self._dormant)

    def _masks(self, kept: Kept, guide: Tensors) -> Masks:
        return self.units.spread(kept, guide, reading=self._dormant)

    def shrunk(self, training: Training) -> int:
        """The update that leaves the density asked for; 0 where it is there from the start."""
        if self.options.shrink_until is None:
            return 0
        interval = self.interval(training)
        return max(1, int(self.options.shrink_until * training.total_steps) // interval) * interval

    def density(self, training: Training) -> float:
        """Of the masks from this step on."""
        shrunk = self.shrunk(training)
        left = (shrunk - training.step) / shrunk if training.step < shrunk else 0.0
        return falling(left, self.context.density)

    def last_update(self, training: Training) -> int:
        return max(1, int(self.options.stop_at * training.total_steps))

    def interval(self, training: Training) -> int:
        return max(2, min(self.options.interval, self.last_update(training) // MIN_UPDATES))

    def gradient_steps(self, training: Training) -> int:
        return min(self.options.gradient_steps, self.interval(training) - 1)

    def due(self, training: Training, step: int) -> bool:
        return 0 < step <= self.last_update(training) and step % self.interval(training) == 0

    def after_backward(self, training: Training) -> None:
        """Sum the dense gradients of the last steps before an update that looks at them."""
        if not (self._looks or self.units.patterned):
            return
        ahead = -(training.step + 1) % self.interval(training)
        if ahead >= self.gradient_steps(training) or not self.due(training, training.step + 1 + ahead):
            return
        if not self._gradients:
            self._gradients = training.dense_gradients()
            return
        for name, total in self._gradients.items():
            if (gradient := training.parameters[name].grad) is not None:
                total += gradient

    def after_step(self, training: Training) -> None:
        if self.due(training, training.step):
            gradients, self._gradients = self._gradients, {}
            self.change(training, gradients)
            training.cutting = training.step < self.shrunk(training)

    def state(self) -> dict[str, Any]:
        return {"gradients": self._gradients, "library": self.units.library}

    def restore(self, state: dict[str, Any]) -> None:
        self._gradients, self._library = state["gradients"], state["library"]

    def change(self, training: Training, gradients: dict[str, Tensor]) -> None:
        training.set_masks(self.candidate(training, gradients, self.strategy))

    def candidate(
        self, training: Training, gradients: dict[str, Tensor], strategy: tuple[str, str]
    ) -> dict[str, Tensor]:
        """The masks `strategy` proposes at this step."""
        rate = cosine_rate(training.step, self.last_update(training), self.options.rate_start, self.options.rate_end)
        generator = torch_generator(self.context.seed, "grow", training.step)
        held = self._held(training)
        if self.options.shrink_until is not None:
            held = self._fewer(training, held)
        value = partial(self.units.totals if self.units.single else self.units.pool, reading=True)
        weights = {name: parameter.detach() for name, parameter in training.parameters.items()}
        # random growth looks at nothing: weights are as good as gradients, which may not be there
        ranked, signal = prune.ranked(strategy[0], weights, gradients), self.signal(strategy[1], gradients or weights)
        kept = update(strategy, value(ranked), held, value(signal), rate, generator, self.units.rows)
        return self._masks(kept, self._guide(training.masks, gradients))

    def _fewer(self, training: Training, held: Kept) -> Kept:
        """The largest of these units, as many as the density of this step leaves."""
        counts = counts_of(self.units, self.density(training))
        strength = self.units.pool(training.parameters, reading=True)
        inside = {name: strength[name].masked_fill(~kept, -1.0) for name, kept in held.items()}
        fewer = {name: min(counts[name], int(kept.sum())) for name, kept in held.items()}
        return largest(self.units, inside, fewer)

    def signal(self, growing: str, gradients: Tensors) -> Tensors:
        """What the grow rule `growing` looks at."""
        return gradients

    def _guide(self, masks: Tensors, gradients: Tensors) -> Tensors:
        """What a 3 × 3 kernel's pattern is chosen by: a kept one has its own already, a grown one its gradients'."""
        guide = {}
        for name in self.units.patterned:
            kept = masks[name].flatten(2).any(dim=2)[..., None, None]
            guide[name] = torch.where(kept, masks[name].to(gradients[name].dtype), gradients[name])
        return guide
