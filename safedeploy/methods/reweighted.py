"""`reweighted`: a penalty, renewed at a few milestones, draws groups that the loss does not hold to zero, then comes
one cut by group magnitude, then training with the mask (unified reweighted pruning, Zhang et al. 2021: min f(w) + γ Σ P
‖w‖ with P = 1 at first, 1/(‖w‖ + ε) from then on)."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from safedeploy.methods.base import Context, Options
from safedeploy.sparsity.structure import masks_by_magnitude, require_reachable, structured
from safedeploy.sparsity.units import Units
from safedeploy.structures import kind_of
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

RENEWED = 20  # steps that the norms under the penalty's gradient serve, so that it stays a small part of a step
TINY = 1e-12  # what decays below becomes zero: arithmetic on denormal numbers is slow


class ReweightedOptions(Options):
    """How hard the penalty pushes, and until when."""

    gamma: float = Field(
        1.0,
        gt=0,
        description="strength: at 1, a group of its layer's mean norm that the loss does not hold falls to zero between"
        " two milestones, whatever the learning rate",
    )
    eps: float = Field(0.01, gt=0, description="the eps of P = 1/(norm + eps), in units of the layer's mean norm")
    milestones: int = Field(3, ge=0, le=100, description="times that P is computed anew, evenly spread before the cut")
    prune_at: float = Field(0.5, gt=0, lt=1, description="share of the steps trained with the penalty before the cut")


class Reweighted(Hooks):
    """The penalty's gradient γ P w/‖w‖ is added to the loss's, without autograd and without a term to the loss.

    γ is set layer by layer and phase by phase (the steps between two milestones): `gamma` times the layer's mean norm
    over the way that weights can go in the phase. The papers leave one γ to be tuned. A group nearer to zero than one
    step is drawn to it in proportion, so that it does not swing about it; its ‖w‖ is renewed every RENEWED steps, which
    makes the penalty between them its quadratic bound (iteratively reweighted least squares).
    """

    def __init__(self, options: ReweightedOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.weights: dict[str, Tensor] = {}  # a layer's groups -> (k,) γP, the length of each one's gradient
        self.factors: dict[str, Tensor] = {}  # parameter -> γP/‖w‖ of the group that each of its numbers is in
        self._units: Units | None = None

    def begin(self, training: Training) -> None:
        """What cannot be cut so far fails before the training."""
        shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
        require_reachable(training.module, shape, density, structure)

    def after_backward(self, training: Training) -> None:
        cut, step = self.cut(training), training.step
        if step >= cut:
            return
        starts = self.starts(training)
        if step in starts:
            self._reweight(training, next((start for start in starts if start > step), cut))
        if step in starts or step % RENEWED == 0:
            self._renew(training)
        for name, factor in self.factors.items():
            value = training.parameters[name]
            if value.grad is not None:
                value.grad.addcmul_(factor, value.detach())

    def after_step(self, training: Training) -> None:
        if training.step == self.cut(training):
            self.weights, self.factors = {}, {}
            shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
            training.set_masks(masks_by_magnitude(training.module, shape, density, structure))

    def cut(self, training: Training) -> int:
        """The step after which the weakest groups go."""
        return max(1, round(self.options.prune_at * training.total_steps))

    def starts(self, training: Training) -> list[int]:
        """The steps with which phases begin: the first, and the milestones."""
        phases = self.options.milestones + 1
        return sorted({self.cut(training) * phase // phases for phase in range(phases)})

    def _reweight(self, training: Training, end: int) -> None:
        """γP for the phase from this step to `end`."""
        rates = (training.learning_rate(step) for step in range(training.step, end))
        way = sum(rates) / (1 - training.recipe.momentum)
        for name, norms in self.units(training).pool(training.parameters).items():
            mean = norms.mean().clamp_min(TINY)
            weights = 1 / (norms / mean + self.options.eps) if training.step else torch.ones_like(norms)
            self.weights[name] = self.options.gamma * mean / way * weights

    @torch.no_grad()
    def _renew(self, training: Training) -> None:
        """γP/‖w‖ as it is now, of channels for each of the two or more that a weight is in."""
        reach = training.learning_rate(training.step) / (1 - training.recipe.momentum)
        units = self.units(training)
        norms = units.pool(training.parameters)
        self.factors = {}
        for name, one in units.sets.items():
            weights = self.weights[name]
            each = torch.cat([weights / (reach * weights).maximum(norms[name]), weights.new_zeros(1)])
            for part in one.parts:
                value = training.parameters[part.name]
                spread = each[:-1].view(value.shape) if part.index is None else each[part.index.to(each.device)]
                before = self.factors.get(part.name)
                self.factors[part.name] = spread.expand(value.shape) if before is None else before + spread
        for name in self.factors:
            value = training.parameters[name]
            momentum = training.optimizer.state.get(value, {}).get("momentum_buffer")
            for decayed in (value,) if momentum is None else (value, momentum):
                decayed.masked_fill_(decayed.abs() < TINY, 0)

    def units(self, training: Training) -> Units:
        """The groups of the structure; single weights for patterns, of which any place may have to go."""
        if self._units is None:
            structure = self.context.structure
            grouped = "irregular" if kind_of(structure) == "pattern" else structure
            self._units = structured(training.module, self.context.input_shape, grouped)
        return self._units

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights, "factors": self.factors}

    def restore(self, state: dict[str, Any]) -> None:
        self.weights, self.factors = state["weights"], state["factors"]


def make(options: ReweightedOptions, context: Context) -> Hooks:
    return Reweighted(options, context)
