"""`hamp`: members are taught high-entropy labels, and low entropy costs (Chen & Pattabiraman 2024, NDSS): the training
part of HAMP; its random answers at inference need the runtime's help and are not here."""

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from safedeploy.methods.base import Context, Options
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class HampOptions(Options):
    """How soft the labels are, and what confidence costs."""

    gamma: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="entropy of the taught labels, as a share of the most there can be; the authors: 0.5 for"
        " Location-30, 0.8 for Purchase100",
    )
    alpha: float = Field(
        0.03,
        ge=0,
        description="weight of the answers' entropy, which is rewarded; the authors' 0.001 for Location-30 and 0.01 for"
        " Purchase100 stand beside a divergence that their code divides by the classes: 0.03 and 1 here",
    )


class Hamp(Hooks):
    def __init__(self, options: HampOptions, context: Context) -> None:
        self.options, self.context = options, context

    def begin(self, training: Training) -> None:
        classes = self.context.classes
        top = label_probability(self.options.gamma, classes)
        hot = functional.one_hot(training.y, classes).to(torch.float32)
        training.targets = hot * top + (1 - hot) * (1 - top) / (classes - 1)

    def loss_term(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor | None:
        return -self.options.alpha * entropy(logits) if self.options.alpha else None


def label_probability(gamma: float, classes: int) -> float:
    """The label's probability p for which (p, and 1 − p spread evenly) has the entropy γ · ln(classes).

    Above 1/classes the entropy falls with p, so there is one: found by bisection, to rounding.
    """
    low, high = 1 / classes, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        rest = 1 - middle
        found = -middle * math.log(middle) - (rest * math.log(rest / (classes - 1)) if rest else 0.0)
        low, high = (middle, high) if found > gamma * math.log(classes) else (low, middle)
    return low


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy (nats) of the answers; logits (b, classes)."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


def make(options: HampOptions, context: Context) -> Hooks:
    return Hamp(options, context)
