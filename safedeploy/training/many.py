"""Many trainings of one recipe: stacked where that pays, and beside each other in processes where it takes long."""

from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.recipe import TrainingRecipe
from safedeploy.threads import SMALL
from safedeploy.training.device import make_accelerator
from safedeploy.training.group import Job, groups, nested, train_group
from safedeploy.training.hooks import Hooks
from safedeploy.training.workers import Workers, cores

__all__ = ["Job", "groups", "train_many"]

WORTH = 15.0  # seconds of training ahead for which workers are started: they import torch for 3 to 5 of them
JUDGED = 2.0  # seconds of training after which what lies ahead is judged


def train_many(
    modules: Sequence[nn.Module],
    pool: tuple[Tensor, Tensor],
    rows: Sequence[NDArray[np.int64]],
    hooks: Sequence[Hooks],
    recipe: TrainingRecipe,
    seeds: Sequence[int],
    *,
    progress: Callable[[float], None] | None = None,
    finished: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> list[nn.Module]:
    """Train modules[k] in place on rows[k] with hooks[k] and seeds[k], as `run_training` would alone.

    modules: of one architecture, fresh. pool: x (N, *input_shape) float32 and y (N,) int64; rows[k]: (n_k,) int64
    positions in it. `finished` hears each k whose module has its final weights. Returns the modules, on the CPU and in
    evaluation mode. Every model has the batches, masks and steps it has alone, so its weights are the same to float
    rounding; where a stacked module draws random numbers (dropout) they are other draws from the same distribution.
    processes: so many from the start, which is for small networks on a CPU; by default one for each core once the work
    ahead is worth it. Hooks may be left as they were. Raises UserError where a training diverges.
    """
    jobs = [Job(*parts) for parts in zip(modules, rows, hooks, seeds, strict=True)]
    device = make_accelerator(recipe.device, recipe.precision).device.type
    waiting = deque(groups(jobs, recipe, device))
    events: SimpleQueue[tuple[str, Any]] = SimpleQueue()  # what workers report is acted on in this thread
    left, done, total = len(waiting), 0, sum(job.steps(recipe) for job in jobs)
    beside = device == "cpu" and jobs and jobs[0].parameters < SMALL and not nested.get()
    count = (processes or cores()) if beside else 1
    workers: Workers | None = None
    started = monotonic()

    def take() -> list[int] | None:
        try:
            return waiting.popleft()
        except IndexError:
            return None

    def heed(kind: str, value: Any) -> None:
        nonlocal left, done
        if kind == "steps":
            done += value
            if progress:
                progress(min(1.0, done / total))
        elif kind == "trained":
            left -= 1
            for k in value:
                if finished:
                    finished(k)
        elif isinstance(value[1], UserError):
            raise value[1]
        else:
            waiting.append(value[0])  # a worker could not: here, where the reason shows if it is the training's

    def told(steps: int) -> None:
        nonlocal workers
        heed("steps", steps)
        while not events.empty():
            heed(*events.get())
        if workers is None and count > 1 and waiting:
            passed = monotonic() - started
            if processes or (passed > JUDGED and passed * (total - done) / done > WORTH):
                others = min(count - 1, len(waiting))
                workers = Workers(others, jobs, pool, recipe, take, lambda *event: events.put(event))

    try:
        while left:
            if group := take():
                train_group([jobs[k] for k in group], pool, recipe, told)
                heed("trained", group)
            else:
                heed(*events.get())
    finally:
        if workers:
            workers.close()
    return list(modules)
