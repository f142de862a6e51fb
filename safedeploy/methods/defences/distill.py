"""`distill`: members are taught a trained teacher's answers (Hinton, Vinyals and Dean 2015).

No defence by itself: a teacher that saw the members answers as one that did, and its student learns who they were from
those answers. It makes small students better; `crossfit` is the form that hides members.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.errors import UserError
from safedeploy.methods.base import Context, Options
from safedeploy.methods.defences.taught import mixed
from safedeploy.models.init import module_of_run, put_in
from safedeploy.models.zoo import build_model
from safedeploy.rundir import open_run
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class DistillOptions(Options):
    """Who teaches, and how much of the lesson is the teacher's."""

    teacher: str | None = Field(
        None, description="an .onnx or .pte file or a run's folder; without it the weights of --init are the teacher"
    )
    weight: float = Field(0.9, gt=0, le=1, description="the teacher's share of the loss; the rest is the label's")
    temperature: float = Field(2.0, gt=0, description="what the teacher's and the student's logits are divided by")


class Distill(Hooks):
    """weight · T² · CE(student / T, softmax(teacher / T)) + (1 − weight) · CE(student, label): section 2 of the paper.

    T² keeps the two shares of the gradient in proportion whatever the temperature.
    """

    def __init__(self, options: DistillOptions, context: Context) -> None:
        self.options, self.seed, self.model = options, context.seed, context.model
        self.classes, self.input_shape = context.classes, context.input_shape
        if options.teacher is None and context.model.init is None:
            raise UserError("--defence distill has no teacher: add --option distill.teacher=FILE, or --init")

    def check(self, module: nn.Module) -> None:
        self._ask(np.zeros((1, *self.input_shape), dtype=np.float32))

    def begin(self, training: Training) -> None:
        x = training.inputs(torch.arange(len(training.y), device=training.y.device))
        logits = torch.from_numpy(self._ask(x.numpy(force=True))).to(x.device)
        training.targets = mixed(logits, training.y, 1.0, self.options.temperature)
        right = (logits.argmax(1) == training.y).double().mean()
        training.log({"event": "teacher", "accuracy": float(right)})

    def loss(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor:
        assert training.targets is not None
        weight, temperature = self.options.weight, self.options.temperature
        softened = training.targets[training.positions(training.step)]
        lesson = functional.cross_entropy(logits / temperature, softened) * temperature**2
        return weight * lesson + (1 - weight) * functional.cross_entropy(logits, labels)

    def _ask(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The teacher's logits (n, classes)."""
        if self.options.teacher is None:
            return self._of(self._initial()).logits(x)
        place = Path(self.options.teacher).expanduser()
        if place.is_dir():
            return self._of(module_of_run(open_run(place), self.input_shape, self.classes)).logits(x)
        artifact = open_artifact(place)
        if (artifact.input_shape, artifact.classes) != (self.input_shape, self.classes):
            theirs = f"takes {artifact.input_shape} and tells {artifact.classes} classes apart"
            raise UserError(
                f"{place} {theirs}, this run's model {self.input_shape} and {self.classes}: it cannot teach"
            )
        return artifact.logits(x)

    def _of(self, module: nn.Module) -> TorchArtifact:
        return TorchArtifact(module, "teacher", self.input_shape, self.classes)

    def _initial(self) -> nn.Module:
        """The model of --init as it was before the method changed it."""
        init = self.model.init
        assert init is not None
        module = build_model(self.model.name, self.input_shape, self.classes, self.seed)
        if fresh := put_in(module, init, self.model.name):
            advice = "add --option distill.teacher=FILE"
            raise UserError(f"--init {init} tells other classes apart ('{fresh[0]}'), so it cannot teach: {advice}")
        return module.eval()


def make(options: DistillOptions, context: Context) -> Hooks:
    return Distill(options, context)
