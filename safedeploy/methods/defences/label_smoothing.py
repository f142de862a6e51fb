"""`label-smoothing`: members are taught (1 − ε) of their label and ε of the uniform distribution (Szegedy et al. 2016,
section 7). It regularises, and helps an attacker more than it hinders one: here to be compared with."""

import torch
from pydantic import Field
from torch.nn import functional

from safedeploy.methods.base import Context, Options
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class LabelSmoothingOptions(Options):
    """How much is spread."""

    smoothing: float = Field(0.1, gt=0, lt=1, description="the ε of the paper: probability spread over all classes")


class LabelSmoothing(Hooks):
    def __init__(self, options: LabelSmoothingOptions, context: Context) -> None:
        self.options, self.context = options, context

    def begin(self, training: Training) -> None:
        share, classes = self.options.smoothing, self.context.classes
        training.targets = (1 - share) * functional.one_hot(training.y, classes).to(torch.float32) + share / classes


def make(options: LabelSmoothingOptions, context: Context) -> Hooks:
    return LabelSmoothing(options, context)
