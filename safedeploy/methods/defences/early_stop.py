"""`early-stop`: the training ends after a given epoch, or where validation accuracy has stopped rising: the plainest
defence, and the one that every other is compared with at equal accuracy (as by Song & Mittal 2021)."""

from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from safedeploy.errors import UserError
from safedeploy.methods.base import Context, Options
from safedeploy.training.evaluate import accuracy
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

PATIENCE = 5


class EarlyStopOptions(Options):
    """One of the two rules."""

    epochs: int | None = Field(
        None, ge=1, description="end after this epoch; the learning rate falls as if all epochs of the recipe came"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="end after so many epochs without a better validation accuracy, and keep the best epoch's weights;"
        f" {PATIENCE} where neither option is given",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.epochs is not None and self.patience is not None:
            raise ValueError("give epochs or patience, not both")
        return self


class AfterEpoch(Hooks):
    """Sets the last step before the first one, so that a stack of trainings ends too."""

    def __init__(self, epochs: int, context: Context) -> None:
        self.epochs, self.context = epochs, context

    def begin(self, training: Training) -> None:
        if self.context.density < 1 and not training.masks:
            raise UserError(
                "--defence early-stop: this method prunes later, so an early end may ship it dense: set --epochs, which"
                " the whole training fits into, or early-stop.patience"
            )
        training.last_step = min(training.last_step, self.epochs * training.steps_per_epoch)


class Patience(Hooks):
    """Watches the validation role; where a method prunes late, epochs count from its last cut on."""

    alone = "validation accuracy decides when it stops"

    def __init__(self, patience: int, context: Context) -> None:
        held = context.validation if len(context.validation.y) else context.nonmembers
        if not len(held.y):
            raise UserError("--defence early-stop: there are no validation samples to stop by: set early-stop.epochs")
        self.patience, self.sparse = patience, context.density < 1
        self.x, self.y = torch.from_numpy(held.x), torch.from_numpy(held.y)
        self.best: dict[str, Any] = {}

    def after_epoch(self, training: Training) -> None:
        if self.sparse and (training.cutting or not training.masks):
            return
        reached = accuracy(training.module, *(part.to(training.y.device) for part in (self.x, self.y)))
        if not self.best or reached > self.best["accuracy"]:
            weights = _copies(training.module.state_dict())
            self.best = {
                "epoch": training.epoch,
                "accuracy": reached,
                "weights": weights,
                "masks": _copies(training.masks),
            }
        elif training.epoch - self.best["epoch"] >= self.patience:
            training.stop()

    def finish(self, training: Training) -> None:
        if self.best:
            device = training.y.device
            training.module.load_state_dict(self.best["weights"])
            training.masks = {name: mask.to(device) for name, mask in self.best["masks"].items()}
            training.log({"event": "early stop", "epoch": self.best["epoch"], "accuracy": self.best["accuracy"]})

    def state(self) -> dict[str, Any]:
        return {"best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def _copies(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def make(options: EarlyStopOptions, context: Context) -> Hooks:
    if options.epochs is None:
        return Patience(options.patience or PATIENCE, context)
    if options.epochs > context.training.epochs:
        raise UserError(
            f"--defence early-stop: epochs: {options.epochs} is after the training's last, {context.training.epochs}:"
            " choose fewer, or train longer with --epochs"
        )
    return AfterEpoch(options.epochs, context)
