"""One dynamic sparse step: prune a share of the active weights, grow as many elsewhere in the same layer."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from safedeploy.sparsity import grow, prune


def looks_at_gradients(strategy: tuple[str, str]) -> bool:
    """Whether the strategy's rules look at gradients; momentum growth's running mean is its own."""
    return strategy[0] == "taylor" or strategy[1] == "gradient"


def update(
    strategy: tuple[str, str],
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rate: float,
    generator: torch.Generator,
    rows: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """New masks with the counts of the old; `strategy` names a rule of prune.RULES and one of grow.RULES.

    A tensor is a layer's weights, or one value for each of its units. rows: see `grow`.
    """
    pruning, growing = strategy
    dropped = prune.RULES[pruning](weights, masks, rate)
    for name, row in (rows or {}).items():
        dropped[name] = _replaceable(weights[name].abs(), masks[name], dropped[name], row)
    return grow.grow(grow.RULES[growing], gradients, masks, dropped, generator, rows)


def _replaceable(strength: Tensor, mask: Tensor, dropped: Tensor, row: int) -> Tensor:
    """Of what is to be dropped the weakest, in each row no more than it has free places."""
    order = torch.where(dropped, strength, torch.inf).view(-1, row).argsort(dim=1, stable=True)
    free = (~mask).view(-1, row).sum(dim=1, keepdim=True)
    weakest = torch.zeros_like(mask).view(-1, row)
    weakest.scatter_(1, order, torch.arange(row, device=mask.device) < free)
    return dropped & weakest.view(mask.shape)


def cosine_rate(step: int, last: int, start: float, end: float) -> float:
    """The share updated at `step`, from `start` to `end` along half a cosine (Dettmers & Zettlemoyer 2019)."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, step / last)))
