"""Which inactive weights a dynamic sparse step brings in, as many in each layer as it removed there."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from safedeploy.sparsity.ranking import largest

Count = int | Tensor  # of all free places, or (rows,) of each row of them
Rule = Callable[[Tensor, Tensor, Count, torch.Generator], Tensor]  # gradient, free, count, generator -> grown places


def gradient(gradient: Tensor, free: Tensor, count: Count, generator: torch.Generator) -> Tensor:
    """The `count` free places of largest |gradient| (Evci et al. 2020, RigL, equation 2)."""
    return _largest(gradient.abs(), free, count)


def random(gradient: Tensor, free: Tensor, count: Count, generator: torch.Generator) -> Tensor:
    """`count` free places, uniformly (Mocanu et al. 2018, SET)."""
    return _largest(torch.rand(free.shape, generator=generator).to(free.device), free, count)


def momentum(mean: Tensor, free: Tensor, count: Count, generator: torch.Generator) -> Tensor:
    """The `count` free places of largest |mean gradient|, a running mean that inactive weights have too (Dettmers &
    Zettlemoyer 2019, section 3). The optimiser's own momentum is zero there: it can only regrow what was just pruned.
    """
    return _largest(mean.abs(), free, count)


def random_unfired(fired: Tensor, free: Tensor, count: Count, generator: torch.Generator) -> Tensor:
    """`count` free places, uniformly among those never active before (`fired` 0) while any is left, then the others."""
    drawn = torch.rand(free.shape, generator=generator).to(free.device)
    return _largest(torch.where(fired == 0, 1 + drawn, drawn), free, count)


def _largest(value: Tensor, free: Tensor, count: Count) -> Tensor:
    if isinstance(count, int):
        return largest(value, free, count)
    order = torch.where(free, value, -torch.inf).argsort(dim=1, descending=True, stable=True)
    first = torch.arange(free.shape[1], device=free.device) < count.view(-1, 1)
    return torch.zeros_like(free).scatter_(1, order, first)


RULES: dict[str, Rule] = {
    "gradient": gradient,
    "momentum": momentum,
    "random": random,
    "random-unfired": random_unfired,
}


def grow(
    rule: Rule,
    gradients: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    dropped: Mapping[str, Tensor],
    generator: torch.Generator,
    rows: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """New masks: kept weights plus as many grown ones as were dropped, never at a place just dropped.

    A prune rule drops at most as many weights of a layer as it has free places. rows: where a layer keeps as many of
    every so many consecutive places, as N:M does, as many grow there as were dropped there.
    """
    grown = {}
    for name, mask in masks.items():
        row = (rows or {}).get(name)
        if row is None:
            grown[name] = rule(gradients[name], ~mask, int(dropped[name].sum()), generator)
        else:
            count = dropped[name].view(-1, row).sum(dim=1)
            grown[name] = rule(gradients[name].view(-1, row), ~mask.view(-1, row), count, generator).view(mask.shape)
    return {name: mask & ~dropped[name] | grown[name] for name, mask in masks.items()}
