"""Which of many trainings are one stack, and training such a group in this process."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from safedeploy.recipe import TrainingRecipe
from safedeploy.threads import limited, suitable
from safedeploy.training.device import deterministic, make_accelerator
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.stacked import Stack, can_stack

# Parameters of one stack, by benchmarks/README.md: on a CPU weights, gradients and momentum should stay in its caches.
PARAMETERS = {"cpu": 1_250_000, "cuda": 100_000_000, "mps": 100_000_000}
MODELS = 64

# Whether a training's own hooks are training others: the cores already have a group each.
nested: ContextVar[bool] = ContextVar("nested", default=False)


@dataclass(frozen=True, eq=False)
class Job:
    """One training. module: its fresh weights; rows: (n,) int64, its members' positions in the pool."""

    module: nn.Module
    rows: NDArray[np.int64]
    hooks: Hooks
    seed: int

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def steps(self, recipe: TrainingRecipe) -> int:
        return recipe.epochs * max(1, len(self.rows) // recipe.batch_size)  # fewer where a defence stops early


def groups(jobs: Sequence[Job], recipe: TrainingRecipe, device: str) -> list[list[int]]:
    """Which jobs are trained at once.

    Only those of as many steps, as large batches and one weight decay share a stack: of the halves of an odd pool one
    may have a step more, which gives two stacks, and each model its own batches.
    """
    alike: dict[tuple[float | None, ...], list[int]] = defaultdict(list)
    for k, job in enumerate(jobs):
        alone = can_stack(job.hooks, recipe) is not None or not pays(job.module, device)
        shared = job.steps(recipe), min(len(job.rows), recipe.batch_size), job.hooks.weight_decay
        alike[(-1 - k,) if alone else shared].append(k)
    most = max(1, min(MODELS, PARAMETERS[device] // max(1, jobs[0].parameters))) if jobs else 1
    return [same[first : first + most] for same in alike.values() for first in range(0, len(same), most)]


def pays(module: nn.Module, device: str) -> bool:
    """Whether a stack is faster than one after another: on a CPU, convolutions in groups are slower than alone."""
    convolutions = any(isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) for layer in module.modules())
    return device != "cpu" or not convolutions


def train_group(
    jobs: Sequence[Job], pool: tuple[Tensor, Tensor], recipe: TrainingRecipe, told: Callable[[int], None]
) -> None:
    """Train these at once, in this process; `told` hears of steps as they are done. Changes no global random state."""
    deterministic()
    accelerator = make_accelerator(recipe.device, recipe.precision)
    x, y = (part.to(accelerator.device) for part in pool)
    rows = [torch.from_numpy(job.rows).to(accelerator.device) for job in jobs]
    outside = nested.set(True)
    try:
        with limited(suitable(jobs[0].parameters)), torch.random.fork_rng(devices=[]):
            for job in jobs:
                job.module.to(accelerator.device)
            if len(jobs) == 1:
                _alone(jobs[0], x[rows[0]], y[rows[0]], recipe, accelerator, told)
            else:
                modules, hooks, seeds = zip(*((job.module, job.hooks, job.seed) for job in jobs), strict=True)
                stack = Stack(modules, x, y, rows, hooks, recipe, seeds, accelerator)
                stack.run(lambda: told(len(jobs)))
                stack.release()
    finally:
        nested.reset(outside)
    for job in jobs:
        job.module.cpu()


def _alone(
    job: Job, x: Tensor, y: Tensor, recipe: TrainingRecipe, accelerator: Accelerator, told: Callable[[int], None]
) -> None:
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    job.module.to(memory_format=layout)  # type: ignore[call-overload]
    training = Training(job.module, x, y, recipe, job.seed, accelerator, job.hooks, lambda event: None)
    train(training, after_epoch=Training.require_finite, progress=lambda share: told(1))
    job.module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
