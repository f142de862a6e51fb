"""`mcmia`: pruned by ADMM under a hard budget for every layer (Wang et al. 2021, 'Against membership inference attack:
pruning is all you need'); with `--min-max` also taught to lower the gain of attackers: MCMIA-Pruning & Min-Max."""

from typing import Any, Self

import torch
from pydantic import Field, PositiveInt, field_validator, model_validator
from torch import Tensor, nn

from safedeploy.errors import UserError, unknown
from safedeploy.methods.adversary import AdversarialGame, GameOptions
from safedeploy.methods.base import Context
from safedeploy.sparsity.masks import Masks, shapes
from safedeploy.sparsity.structure import counts_of, largest, projected, require_reachable, structured
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training
from safedeploy.training.together import Together

MIN_UPDATES = 8  # so that weights are near the constraint in a short training too


class McmiaOptions(GameOptions):
    """How ADMM draws the weights to their budgets; the game's options are for the min-max alone."""

    min_max: bool = Field(False, description="play the game against attackers too: λ is then `weight`, else 0")
    interval: int = Field(
        100,
        ge=2,
        description="steps from one Z-step to the next; fewer where a short training would have fewer than 8",
    )
    rho_start: float = Field(0.001, gt=0, description="ρ, the pull towards the budgets, from the first Z-step on")
    rho_end: float = Field(
        0.1, gt=0, description="ρ from the last Z-step on; between them it grows by a constant factor"
    )
    prune_at: float = Field(
        0.5, gt=0, lt=1, description="share of the steps after which the rest is cut, and the masks stay"
    )
    budgets: dict[str, PositiveInt] = Field(
        {}, description="weights that layers keep, as fc1=3000,fc2=500; the other layers' are ERK's at the density"
    )

    @field_validator("budgets", mode="before")
    @classmethod
    def _typed(cls, budgets: Any) -> Any:
        """As --option budgets=A=1,B=2 gives them."""
        items = [budgets] if isinstance(budgets, str) else budgets
        if not isinstance(items, list):
            return items
        pairs = [item.partition("=") for item in items]
        return {layer.strip(): count for layer, _, count in pairs}

    @model_validator(mode="after")
    def _game_is_played(self) -> Self:
        unheard = [name for name in GameOptions.model_fields if name in self.model_fields_set]
        if unheard and not self.min_max:
            raise ValueError(f"{unheard[0]} is the min-max game's: add --min-max")
        return self


class Admm(Hooks):
    """min over W of L(W), at most l_i non-zeros in layer i, by ADMM.

    Uncertain: the paper's text could not be read. The equations are those of Zhang et al. 2018 ('A systematic DNN
    weight pruning framework using alternating direction method of multipliers'), scaled as in Boyd et al. 2011, 3.1.1.

    W-step: SGD on L + Σ ρ/2 ‖W − Z + U‖². Z-step, at every interval: Z = W + U where it is largest, l_i of it, else 0.
    U-step: U += W − Z. Where ρ grows, U shrinks by as much, since it is the dual variable divided by ρ (3.4.1 there).
    At `prune_at` the l_i largest of W stay, and W trains on under those masks. Until the first Z-step W trains dense.
    In a structure Z keeps whole units, of largest norm.
    """

    def __init__(self, options: McmiaOptions, context: Context) -> None:
        self.options, self.context = options, context
        self._z: dict[str, Tensor] = {}
        self._u: dict[str, Tensor] = {}
        self._goal: dict[str, Tensor] = {}  # Z − U, which W is drawn to

    def check(self, module: nn.Module) -> None:
        self._budgets(module)

    def begin(self, training: Training) -> None:
        """What cannot be cut so far fails before the training."""
        shape, density, structure = self.context.input_shape, self.context.density, self.context.structure
        require_reachable(training.module, shape, density, structure)

    def attach(self, training: Training) -> None:
        device = training.y.device  # a checkpoint is read on the CPU
        self._z, self._u = ({name: part.to(device) for name, part in named.items()} for named in (self._z, self._u))
        self._aim()

    def after_backward(self, training: Training) -> None:
        """The pull's gradient, ρ (W − Z + U), by hand: cheaper than autograd's, and without tensors of its own."""
        named = {name: gradient for name in self._goal if (gradient := training.parameters[name].grad) is not None}
        if named:
            gradients, rho = list(named.values()), self._rho(training.step // self.interval(training), training)
            torch._foreach_add_(gradients, [training.parameters[name].detach() for name in named], alpha=rho)
            torch._foreach_add_(gradients, [self._goal[name] for name in named], alpha=-rho)

    def after_step(self, training: Training) -> None:
        cut, interval = self.cut(training), self.interval(training)
        if training.step == cut:
            training.set_masks(self._masks(training.module, self._weights(training)))
            self._z, self._u, self._goal = {}, {}, {}
        elif training.step < cut and training.step % interval == 0:
            self._update(training, training.step // interval)

    def state(self) -> dict[str, Any]:
        return {"z": self._z, "u": self._u}

    def restore(self, state: dict[str, Any]) -> None:
        self._z, self._u = state["z"], state["u"]

    def cut(self, training: Training) -> int:
        """The step after which the masks hold."""
        return max(1, round(self.options.prune_at * training.total_steps))

    def interval(self, training: Training) -> int:
        return max(1, min(self.options.interval, self.cut(training) // (MIN_UPDATES + 1)))

    def _rho(self, number: int, training: Training) -> float:
        """ρ after the Z-step of this number, from 1 on."""
        last = (self.cut(training) - 1) // self.interval(training)
        grown = (number - 1) / max(1, last - 1)
        return float(self.options.rho_start * (self.options.rho_end / self.options.rho_start) ** grown)

    @torch.no_grad()
    def _update(self, training: Training, number: int) -> None:
        """Z-step, U-step, and U in the units of the next ρ."""
        weights = self._weights(training)
        held = {name: value + self._u[name] if name in self._u else value for name, value in weights.items()}
        masks = self._masks(training.module, held)
        self._z = {name: held[name] * mask for name, mask in masks.items()}
        rho = self._rho(number, training)
        shrinks = self._rho(number - 1, training) / rho if number > 1 else 1.0
        self._u = {name: (held[name] - z) * shrinks for name, z in self._z.items()}
        self._aim()
        away = torch.stack([(weights[name] - z).square().sum() for name, z in self._z.items()]).sum()
        whole = torch.stack([weights[name].square().sum() for name in self._z]).sum()
        residual = float((away / whole).sqrt())
        training.log({"event": "admm", "step": training.step, "rho": rho, "residual": residual})

    def _aim(self) -> None:
        self._goal = {name: z - self._u[name] for name, z in self._z.items()}

    def _weights(self, training: Training) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in training.parameters.items()}

    def _masks(self, module: nn.Module, values: dict[str, Tensor]) -> Masks:
        """The masks of the values nearest to these that keep within the budgets."""
        units = structured(module, self.context.input_shape, self.context.structure)
        budgets = self._budgets(module)
        if not budgets:
            return projected(units, values, self.context.density)
        counts = {**counts_of(units, self.context.density), **budgets}
        return units.spread(largest(units, units.pool(values), counts))

    def _budgets(self, module: nn.Module) -> dict[str, int]:
        """The budgets that were given, by parameter name. Raises UserError where a layer cannot have its own."""
        if self.options.budgets and self.context.structure != "irregular":
            raise UserError(f"budgets count single weights: leave them out, or --structure {self.context.structure}")
        sizes = {name: torch.Size(shape).numel() for name, shape in shapes(module).items()}
        layers = {name.removesuffix(".weight"): name for name in sizes}
        found = {}
        for layer, count in self.options.budgets.items():
            name = layers.get(layer.removesuffix(".weight"))
            if name is None:
                raise unknown("layer in budgets", layer, layers)
            if count > sizes[name]:
                raise UserError(f"budgets: {layer} has {sizes[name]:,} weights and cannot keep {count:,} of them")
            found[name] = count
        return found


def make(options: McmiaOptions, context: Context) -> Hooks:
    admm = Admm(options, context)
    return Together({"admm": admm, "game": AdversarialGame(options, context)}) if options.min_max else admm
