"""`label-smoothing`: members are taught (1 − ε) of their label and ε of the uniform distribution (Szegedy et al. 2016,
section 7). It regularises, and helps an attacker more than it hinders one: here to be compared with."""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional

from safedeploy.methods.base import Context, Options
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class LabelSmoothingOptions(Options):
    """`smoothing`: the ε of the paper."""

    smoothing: Annotated[float, Field(gt=0, lt=1)] = 0.1


class LabelSmoothing(Hooks):
    def __init__(self, options: LabelSmoothingOptions, context: Context) -> None:
        self.options, self.context = options, context

    def begin(self, training: Training) -> None:
        share, classes = self.options.smoothing, self.context.classes
        training.targets = (1 - share) * functional.one_hot(training.y, classes).to(torch.float32) + share / classes


def make(options: LabelSmoothingOptions, context: Context) -> Hooks:
    return LabelSmoothing(options, context)
