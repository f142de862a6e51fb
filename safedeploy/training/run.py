"""One training from fresh weights, or from the newest checkpoint, to the last step."""

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor, nn

from safedeploy.recipe import TrainingRecipe
from safedeploy.threads import limited, suitable
from safedeploy.training import checkpoint
from safedeploy.training.device import deterministic, make_accelerator
from safedeploy.training.evaluate import accuracy
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.metrics import MetricsLog


def run_training(
    module: nn.Module,
    members: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    hooks: Hooks,
    recipe: TrainingRecipe,
    seed: int,
    *,
    metrics: Path,
    checkpoints: Path,
    progress: Callable[[float], None] | None = None,
) -> Training:
    """Train `module` in place. Checkpoints are written at ends of epochs; one that is found is continued from.

    members, validation: (x (n, *input_shape) float32, y (n,) int64). Raises UserError where the training diverges.
    """
    deterministic()
    accelerator = make_accelerator(recipe.device, recipe.precision)
    device = accelerator.device
    layout = torch.channels_last if members[0].dim() == 4 else torch.contiguous_format
    module.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    x, y = (part.to(device) for part in members)
    held_x, held_y = (part.to(device) for part in validation)
    state = checkpoint.newest(checkpoints)
    log = MetricsLog(metrics, keep_bytes=state["metrics_bytes"] if state else 0)
    training = Training(module, x, y, recipe, seed, accelerator, hooks, log)
    if state:
        training.restore(state["training"])
        hooks.restore(state["hooks"])
        targets = state["targets"]
        training.targets = None if targets is None else targets.to(device)

    started, written = monotonic(), -math.inf

    def after_begin(training: Training) -> None:
        if monotonic() - started > max(1.0, recipe.checkpoint_seconds):  # teachers were trained, say
            keep(training)

    def after_epoch(training: Training) -> None:
        training.require_finite()
        log(
            {
                "event": "epoch",
                "epoch": training.epoch,
                "loss": float(training.mean_loss),
                "learning_rate": training.learning_rate(training.step - 1),
                "validation_accuracy": accuracy(module, held_x, held_y),
            }
        )
        keep(training)

    def keep(training: Training) -> None:
        nonlocal written
        if monotonic() - written < recipe.checkpoint_seconds:
            return
        content = {
            "training": training.state(),
            "hooks": hooks.state(),
            "targets": training.targets,
            "metrics_bytes": log.position,
        }
        checkpoint.save(checkpoints, training.step, content)
        written = monotonic()

    size = sum(parameter.numel() for parameter in module.parameters())
    try:
        with limited(suitable(size)):
            train(training, after_begin=after_begin, after_epoch=after_epoch, progress=progress)
    finally:
        log.close()
    module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return training
