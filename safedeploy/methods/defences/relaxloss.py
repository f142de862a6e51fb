"""`relaxloss`: the loss is held at a level α that non-members can reach too (Chen, Yu & Fritz 2022, ICLR): below it the
model climbs in even epochs and flattens its answers in odd ones."""

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from safedeploy.methods.base import Context, Options
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class RelaxLossOptions(Options):
    """The level, and what is flattened below it."""

    alpha: float = Field(
        0.8, gt=0, description="level that the batch's mean cross-entropy is held at; in the paper 0.8 for Purchase100"
    )
    upper: float = Field(
        1.0,
        gt=0,
        le=1,
        description="most that a flattened answer gives the label; the authors: 0.3 for Purchase100, 1 for images",
    )
    flatten: Literal["all", "wrong"] = Field(
        "all",
        description="whose answers are flattened: everybody's (the authors' code for tables), or those that are wrong,"
        " while the loss climbs on (their code for images)",
    )


class RelaxLoss(Hooks):
    def __init__(self, options: RelaxLossOptions) -> None:
        self.options = options

    def loss(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor:
        return relaxed(logits, labels, training.epoch, self.options)


def relaxed(logits: Tensor, labels: Tensor, epoch: int, options: RelaxLossOptions) -> Tensor:
    """The loss of one batch: logits (b, classes), labels (b,); epochs count from 0.

    Algorithm 1 of the paper: with L the mean cross-entropy, L where L > α; else α − L in even epochs (so |L − α|), and
    in odd ones the cross-entropy to flattened answers. The paper and its two programs differ in who is flattened:
    *uncertain*, hence an option.
    """
    each = functional.cross_entropy(logits, labels, reduction="none")
    mean = each.mean()
    if epoch % 2 == 0:
        return (mean - options.alpha).abs()
    if mean > options.alpha:
        return mean
    soft = functional.cross_entropy(logits, flattened(logits, labels, options.upper), reduction="none")
    if options.flatten == "wrong":
        soft = (logits.argmax(1) != labels) * soft - each
    return soft.mean()


def flattened(logits: Tensor, labels: Tensor, upper: float) -> Tensor:
    """Targets (b, classes): the label keeps its probability p, at most `upper`; the others get 1 − p evenly."""
    kept = logits.detach().float().softmax(1).gather(1, labels[:, None]).clamp_max(upper)
    classes = logits.shape[1]
    return ((1 - kept) / (classes - 1)).expand(-1, classes).scatter(1, labels[:, None], kept)


def make(options: RelaxLossOptions, context: Context) -> Hooks:
    return RelaxLoss(options)
