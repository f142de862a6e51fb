"""K trainings of one recipe as one: their weights stacked along a new first axis, a step of all in one pass.

Every model keeps its own module, masks, hooks and batches; `stacked_layers` computes their answers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from safedeploy.training.loop import Training
from safedeploy.training.stacked_gradients import gradients
from safedeploy.training.stacked_layers import as_chain, by_vmap


def can_stack(hooks: Hooks, recipe: TrainingRecipe) -> str | None:
    """None, or why a training with these hooks and this recipe cannot be one of a stack."""
    if hooks.alone:
        return hooks.alone
    if recipe.optimizer != "sgd":
        return f"the moments of {recipe.optimizer} are each training's own"
    if recipe.precision == "float16":
        return "float16 scales each training's loss by itself"
    return None


class Stack:
    """K trainings under way, of which all have the same number of steps and of samples in a batch, and the same method.

    Weights, momentum and running statistics of module k are views of the stacked tensors, so that its hooks find and
    change them in its own `Training`. Its batches and their order are those it would have alone.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        x: Tensor,
        y: Tensor,
        rows: Sequence[Tensor],
        hooks: Sequence[Hooks],
        recipe: TrainingRecipe,
        seeds: Sequence[int],
        accelerator: Accelerator,
    ) -> None:
        """x (N, *input_shape), y (N,): the pool; rows[k] (n_k,) int64: model k's members in it; all on the device."""
        self.x, self.recipe = x, recipe
        self.parameters = _stacked([dict(module.named_parameters()) for module in modules])
        buffers = _stacked([dict(module.named_buffers()) for module in modules])
        # autocast reaches what torch knows, not a function of ours
        chain = as_chain(modules[0], self.parameters) if recipe.precision == "float32" else None
        self.forward = chain or by_vmap(modules[0], self.parameters, buffers)
        written_out = gradients(modules[0], self.parameters) if chain else None
        # a training's x are positions in the pool: the samples are looked up, and augmented, for all at once
        self.trainings = [
            Training(module, chosen, y[chosen], recipe, seed, accelerator, hook, lambda event: None, pool=x)
            for module, chosen, hook, seed in zip(modules, rows, hooks, seeds, strict=True)
        ]
        self.optimizer = torch.optim.SGD(
            self.parameters.values(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay if hooks[0].weight_decay is None else hooks[0].weight_decay,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
        self.masks: dict[str, Tensor] = {}  # as numbers
        self._autocast = nullcontext if recipe.precision == "float32" else accelerator.autocast
        self._keeps_gradients = chain is not None
        if self._keeps_gradients:
            for weights in self.parameters.values():
                weights.grad = torch.zeros_like(weights) if weights.requires_grad else None
        self._seen: list[Mapping[str, Tensor]] = [{} for _ in modules]
        self._watched = [k for k, hook in enumerate(hooks) if hook.overrides("after_backward")]
        self._own = [k for k, hook in enumerate(hooks) if hook.overrides("loss")]
        self._terms = [k for k, hook in enumerate(hooks) if hook.overrides("loss_term")]
        self._gradients = None if self._terms or self._own else written_out
        self._after = [k for k, hook in enumerate(hooks) if hook.overrides("after_step")]
        self._losses = torch.zeros(len(modules), device=y.device)
        self._used = min(len(rows[0]), self.trainings[0].steps_per_epoch * recipe.batch_size)  # of an epoch's order
        self._rows = self._labels = rows[0].new_empty(0)
        self._targets: Tensor | None = None  # of an epoch, in the order of its batches
        self._x = x.new_empty(0)  # a batch's samples, in memory that is kept
        if recipe.momentum > 0:
            self._share_momentum()

    @property
    def last_step(self) -> int:
        """Where all end. Raises ValueError where hooks end their trainings at different steps."""
        steps = {training.last_step for training in self.trainings}
        if len(steps) > 1:
            raise ValueError(f"trainings of one stack end after {sorted(steps)} steps: hooks that end one are `alone`")
        return steps.pop()

    def run(self, told: Callable[[], None]) -> None:
        """From the first step to the last; `told` is called after each. Raises UserError where one diverges."""
        for training in self.trainings:
            training.hooks.begin(training)
            training.begun = True
            training.hooks.attach(training)
        self._take_masks()
        first = self.trainings[0]
        while (step := first.step) < self.last_step:
            if step % first.steps_per_epoch == 0:
                torch.manual_seed(derive(first.seed, "dropout", first.epoch))
                self._losses.zero_()
            self._step(step)
            ends = first.step % first.steps_per_epoch == 0
            if ends:
                self._end_epoch()
            for k in self._after:
                self.trainings[k].hooks.after_step(self.trainings[k])
            if ends:
                for training in self.trainings:
                    training.hooks.after_epoch(training)
            self._take_masks()
            told()
        for training in self.trainings:
            training.hooks.finish(training)

    def release(self) -> None:
        """Each module gets its weights and statistics for itself, and evaluation mode."""
        for training in self.trainings:
            for tensor in (*training.module.parameters(), *training.module.buffers()):
                tensor.data = tensor.data.clone()
                tensor.grad = None
            training.module.eval()

    def _step(self, step: int) -> None:
        x, y, taught = self._batch(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.trainings[0].learning_rate(step)
        each = self._gradients(x, taught) if self._gradients else self._by_autograd(x, y, taught)
        for k in self._watched:
            training = self.trainings[k]
            for name, weights in training.parameters.items():
                gradient = self.parameters[name].grad
                weights.grad = None if gradient is None else gradient[k]
            training.hooks.after_backward(training)
        for name, mask in self.masks.items():
            if (gradient := self.parameters[name].grad) is not None:
                gradient.mul_(mask)
        self.optimizer.step()
        self._losses += each
        for training in self.trainings:
            training.step = step + 1

    def _by_autograd(self, x: Tensor, y: Tensor, taught: Tensor) -> Tensor:
        """The models' losses (K,), their gradients in `grad`."""
        with self._autocast():
            logits = self.forward(x)
            flat = functional.cross_entropy(logits.flatten(0, 1), taught.flatten(0, 1), reduction="none")
            each = flat.view(y.shape).mean(1)
            if self._own:
                losses = list(each)
                for k in self._own:
                    if (own := self.trainings[k].hooks.loss(logits[k], y[k], self.trainings[k])) is not None:
                        losses[k] = own
                each = torch.stack(losses)
            terms = [self.trainings[k].hooks.loss_term(logits[k], y[k], self.trainings[k]) for k in self._terms]
        loss = sum((term for term in terms if term is not None), start=each.sum())
        if not self._keeps_gradients:
            self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return each.detach()

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """x (K, b, *input_shape), y (K, b) and what is taught, y or targets (K, b, classes): each model's own batch."""
        first = self.trainings[0]
        epoch, position = divmod(step, first.steps_per_epoch)
        if position == 0:
            orders = [training.order(epoch)[: self._used] for training in self.trainings]
            pairs = [
                (training.x[order], training.y[order]) for training, order in zip(self.trainings, orders, strict=True)
            ]
            self._rows, self._labels = (torch.stack(parts) for parts in zip(*pairs, strict=True))
            targets = [training.targets for training in self.trainings]
            taught = [own[order] for own, order in zip(targets, orders, strict=True) if own is not None]
            self._targets = torch.stack(taught) if taught else None
        now = slice(position * self.recipe.batch_size, (position + 1) * self.recipe.batch_size)
        rows, y = self._rows[:, now], self._labels[:, now]
        x = torch.index_select(self.x, 0, rows.flatten(), out=self._x).view(*rows.shape, *self.x.shape[1:])
        if self.recipe.augment != "none":
            seeds = [training.seed for training in self.trainings]
            drawn = [torch_generator(seed, "augment", step) for seed in seeds]
            x = torch.stack([augment(part, self.recipe, each) for part, each in zip(x, drawn, strict=True)])
        return x, y, y if self._targets is None else self._targets[:, now]

    def _end_epoch(self) -> None:
        steps = self.trainings[0].steps_per_epoch
        for training, loss in zip(self.trainings, self._losses, strict=True):
            training.mean_loss = loss / steps
        if not all(bool(torch.isfinite(value).all()) for value in (self._losses, *self.parameters.values())):
            rate = f"lower the learning rate ({self.recipe.learning_rate:g})"
            raise UserError(f"a training diverged before step {self.trainings[0].step}: {rate}")

    @torch.no_grad()
    def _take_masks(self) -> None:
        """Copy the masks of those trainings that have new ones."""
        for k, training in enumerate(self.trainings):
            if training.masks is self._seen[k]:
                continue
            self._seen[k] = training.masks
            for name, mask in training.masks.items():
                if name not in self.masks:
                    self.masks[name] = torch.ones_like(self.parameters[name])
                self.masks[name][k] = mask

    def _share_momentum(self) -> None:
        """Zeros give the first step what torch gives it without a buffer."""
        for name, stacked in self.parameters.items():
            momentum = torch.zeros_like(stacked)
            self.optimizer.state[stacked]["momentum_buffer"] = momentum
            for k, training in enumerate(self.trainings):
                training.optimizer.state[training.parameters[name]]["momentum_buffer"] = momentum[k]


def _stacked(named: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """The tensors of one name side by side; each becomes a view of its place."""
    together = {}
    for name, first in named[0].items():
        stacked = torch.stack([tensors[name].detach() for tensors in named])
        for k, tensors in enumerate(named):
            tensors[name].data = stacked[k]
        together[name] = stacked.requires_grad_(first.requires_grad)
    return together
