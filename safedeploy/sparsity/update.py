"""One dynamic sparse step: prune a share of the active weights, grow as many elsewhere in the same layer."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from safedeploy.sparsity import grow, prune


def update(
    strategy: tuple[str, str],
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rate: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """New masks with the counts of the old; `strategy` names a rule of prune.RULES and one of grow.RULES."""
    pruning, growing = strategy
    dropped = prune.RULES[pruning](weights, masks, rate)
    return grow.grow(grow.RULES[growing], gradients, masks, dropped, generator)


def cosine_rate(step: int, last: int, start: float, end: float) -> float:
    """The share updated at `step`, from `start` to `end` along half a cosine (Dettmers & Zettlemoyer 2019)."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, step / last)))
