"""The one training loop: gradient steps over shuffled batches of members, with hooks, masks, and a state of it all."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.errors import UserError
from safedeploy.recipe import TrainingRecipe
from safedeploy.seeds import derive, torch_generator
from safedeploy.training.augment import augment
from safedeploy.training.hooks import Hooks
from safedeploy.training.optimizer import MOMENTS, make_optimizer


@dataclass(eq=False)
class Training:
    """One training under way. x: (n, *input_shape) float32 and y: (n,) int64 are the members, on the device.

    masks: parameter name -> bool, True where the weight is kept; a parameter without a mask is dense.
    targets: (n, classes) probabilities that members are taught in place of their labels, or None.
    pool: where x holds numbers (n,) int64, the samples (N, *input_shape) that they number.
    Batch k of an epoch depends on the seed, the epoch and k alone, so a state put back replays the same batches.
    """

    module: nn.Module
    x: Tensor
    y: Tensor
    recipe: TrainingRecipe
    seed: int
    accelerator: Accelerator
    hooks: Hooks
    log: Callable[[dict[str, Any]], None]
    masks: dict[str, Tensor] = field(default_factory=dict)
    targets: Tensor | None = None
    pool: Tensor | None = None
    cutting: bool = False  # whether masks will still shrink: what stopped now would be denser than was asked
    step: int = 0
    begun: bool = False  # whether the hooks' beginning is behind it
    beginning: float = 0.0  # share of the whole that it took; for `tell`, which is told how much of the whole is done
    tell: Callable[[float], None] = lambda share: None
    mean_loss: Tensor = field(default_factory=lambda: torch.zeros(()))  # of the last complete epoch

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.module.parameters(), self.recipe, self.hooks.weight_decay)
        self.scaler = getattr(self.accelerator, "scaler", None)
        self.parameters = dict(self.module.named_parameters())
        self._order: tuple[int, Tensor] | None = None
        self._numbers: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}
        self._autocast = nullcontext if self.recipe.precision == "float32" else self.accelerator.autocast
        self._loss_sum = torch.zeros(())
        self.last_step = self.total_steps  # where it ends; the learning rate falls as if it were total_steps

    @cached_property
    def steps_per_epoch(self) -> int:
        """The last, smaller batch of an epoch is dropped, unless it is the only one."""
        return max(1, len(self.y) // self.recipe.batch_size)

    @cached_property
    def total_steps(self) -> int:
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    def positions(self, step: int) -> Tensor:
        """(b,) where the samples of a step are in x, y and targets."""
        chosen = self.hooks.choose(step, self)
        if chosen is not None:
            return chosen
        epoch, number = divmod(step, self.steps_per_epoch)
        return self.order(epoch)[number * self.recipe.batch_size :][: self.recipe.batch_size]

    def inputs(self, positions: Tensor) -> Tensor:
        """The samples (b, *input_shape) at these positions, as they are."""
        return self.x[positions] if self.pool is None else self.pool[self.x[positions]]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self.positions(step)
        x = self.inputs(chosen)
        if self.recipe.augment != "none":
            x = augment(x, self.recipe, torch_generator(self.seed, "augment", step))
        return x, self.y[chosen]

    def stop(self) -> None:
        """The step that was just done is the last."""
        self.last_step = self.step

    def order(self, epoch: int) -> Tensor:
        """Positions (n,) of the members in the order of this epoch's batches."""
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(len(self.y), generator=torch_generator(self.seed, "order", epoch))
            self._order = (epoch, order.to(self.y.device))
        return self._order[1]

    def learning_rate(self, step: int) -> float:
        passed = sum(step >= share * self.total_steps for share in self.recipe.milestones)
        return self.recipe.learning_rate * 0.1**passed

    def one_step(self) -> None:
        """Forward, backward, masks on the gradients, optimiser; weights outside the masks stay exactly zero."""
        if self.step % self.steps_per_epoch == 0:
            torch.manual_seed(derive(self.seed, "dropout", self.epoch))
            self._loss_sum = torch.zeros((), device=self.y.device)
        x, y = self.batch(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        with self._autocast():
            logits = self.module(x)
            loss = self.hooks.loss(logits, y, self)
            if loss is None:
                taught = y if self.targets is None else self.targets[self.positions(self.step)]
                loss = functional.cross_entropy(logits, taught)
            term = self.hooks.loss_term(logits, y, self)
        if term is not None:
            loss = loss + term
        for weights in self.parameters.values():
            weights.grad = None
        if self.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
        self.hooks.after_backward(self)
        self._mask_gradients()
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.step += 1
        self._loss_sum += loss.detach()
        if self.step % self.steps_per_epoch == 0:
            self.mean_loss = self._loss_sum / self.steps_per_epoch

    def require_finite(self) -> None:
        """Raises UserError where the loss or a weight is not finite."""
        values = [self._loss_sum, *self.parameters.values()]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            rate = f"lower the learning rate ({self.recipe.learning_rate:g})"
            raise UserError(f"the training diverged before step {self.step}: {rate}")

    @torch.no_grad()
    def set_masks(self, masks: dict[str, Tensor]) -> None:
        """New masks: weights and momentum outside them become zero, newly grown weights start there."""
        self.masks = masks
        for name, factor in self._factors().items():
            self.parameters[name].mul_(factor)
            kept = self.optimizer.state.get(self.parameters[name], {})
            for moment in MOMENTS:
                if kept.get(moment) is not None:
                    kept[moment].mul_(factor)

    def masked_weights(self) -> dict[str, Tensor]:
        return {name: self.parameters[name].detach() for name in self.masks}

    def dense_gradients(self) -> dict[str, Tensor]:
        """Copies of the masked parameters' gradients; for `after_backward`, before the masks are applied to them."""
        return {name: self._gradient(name).clone() for name in self.masks}

    def state(self) -> dict[str, Any]:
        """A deep copy of everything the next step depends on."""
        return copy.deepcopy(
            {
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict() if self.scaler else {},
                "masks": self.masks,
                "step": self.step,
                "begun": self.begun,
                "last_step": self.last_step,
                "losses": (self._loss_sum, self.mean_loss),
                "rng": torch.get_rng_state(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; the state itself stays untouched."""
        state = copy.deepcopy(state)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.last_step, self.begun = state["step"], state["last_step"], state["begun"]
        # a checkpoint is read on the CPU
        self.masks = {name: mask.to(self.parameters[name].device) for name, mask in state["masks"].items()}
        self._loss_sum, self.mean_loss = state["losses"]
        torch.set_rng_state(state["rng"])

    def _gradient(self, name: str) -> Tensor:
        gradient = self.parameters[name].grad
        return torch.zeros_like(self.parameters[name]) if gradient is None else gradient

    def _mask_gradients(self) -> None:
        gradients = {name: gradient for name in self.masks if (gradient := self.parameters[name].grad) is not None}
        if gradients:
            factors = self._factors()
            torch._foreach_mul_(list(gradients.values()), [factors[name] for name in gradients])

    def _factors(self) -> dict[str, Tensor]:
        """The masks as numbers, laid out as the parameters are: a product with booleans takes eight times as long."""
        if self._numbers[0] is not self.masks:
            made = {name: torch.zeros_like(self.parameters[name]).copy_(mask) for name, mask in self.masks.items()}
            self._numbers = self.masks, made
        return self._numbers[1]


def train(
    training: Training,
    *,
    after_begin: Callable[[Training], None] = lambda training: None,
    after_epoch: Callable[[Training], None],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Run to the last step. `after_epoch` is called where an epoch is complete: for validation and checkpoints.

    `after_begin`: before the first step of a fresh training, once the hooks have begun.
    """
    training.module.train()
    if progress:
        training.tell = progress
    if not training.begun:
        training.hooks.begin(training)
        training.begun = True
        after_begin(training)
    training.hooks.attach(training)
    while training.step < training.last_step:
        epoch = training.epoch
        training.one_step()
        training.hooks.after_step(training)
        training.tell(training.beginning + (1 - training.beginning) * training.step / training.last_step)
        if training.epoch > epoch:
            training.hooks.after_epoch(training)
            after_epoch(training)
    training.hooks.finish(training)
