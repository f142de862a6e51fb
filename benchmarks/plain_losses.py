"""The defences' losses at their defaults as a plain PyTorch loop has them; for benchmarks/training_cost.py."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.methods.defences.hamp import label_probability

Loss = Callable[[Tensor, Tensor, int], Tensor]  # logits (b, classes), labels (b,), epoch from 0


def cross_entropy(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
    return functional.cross_entropy(logits, labels)


def label_smoothing(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=0.1)


def ppb(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
    half = len(logits) // 2
    ranked = logits.sort(dim=1, descending=True).values.log_softmax(1)
    apart = functional.kl_div(ranked[:half], ranked[half : 2 * half], reduction="batchmean", log_target=True)
    return functional.cross_entropy(logits, labels) + 4 * apart


@cache
def _label_share(classes: int) -> float:
    return label_probability(0.5, classes)


def hamp(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
    classes = logits.shape[1]
    top = _label_share(classes)
    taught = logits.new_full(logits.shape, (1 - top) / (classes - 1))
    taught.scatter_(1, labels[:, None], top)
    log_p = logits.log_softmax(1)
    return functional.cross_entropy(logits, taught) + 0.03 * (log_p.exp() * log_p).sum(1).mean()


def relaxloss(logits: Tensor, labels: Tensor, epoch: int) -> Tensor:
    loss = functional.cross_entropy(logits, labels)
    if epoch % 2 == 0:
        return (loss - 0.8).abs()
    if loss > 0.8:
        return loss
    p = torch.softmax(logits.detach(), 1).gather(1, labels[:, None])
    flat = ((1 - p) / (logits.shape[1] - 1)).expand(-1, logits.shape[1]).scatter(1, labels[:, None], p)
    return functional.cross_entropy(logits, flat)


LOSSES: dict[str, Loss] = {"label-smoothing": label_smoothing, "ppb": ppb, "hamp": hamp, "relaxloss": relaxloss}
