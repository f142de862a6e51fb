"""Which active weights a dynamic sparse step removes. Each rule returns the positions to drop, by layer, as masks."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from safedeploy.sparsity.ranking import smallest

Weights = Mapping[str, Tensor]
Rule = Callable[[Weights, Weights, float], dict[str, Tensor]]  # weights, masks, rate -> dropped positions


def magnitude(weights: Weights, masks: Weights, rate: float) -> dict[str, Tensor]:
    """The share `rate` of each layer's active weights that is smallest in magnitude (Evci et al. 2020, RigL)."""
    return {name: smallest(weights[name].abs(), mask, drop_count(mask, rate)) for name, mask in masks.items()}


def threshold(weights: Weights, masks: Weights, rate: float) -> dict[str, Tensor]:
    """All active weights below one threshold for the whole network, in units of each layer's root mean square.

    SafeCompress names a threshold strategy without defining it; this is our reading. The threshold is set so that the
    share `rate` of the network falls below it; layers with many weights far under their own scale lose more than under
    `magnitude`, up to all but one, or as many as have a free place. Without the unit, layers of wide fan-in, whose
    weights are all small, would lose everything they have learned.
    """
    counts = [int(mask.sum()) for mask in masks.values()]
    active = [weights[name].abs()[mask] for name, mask in masks.items()]
    magnitudes = torch.cat([part / part.square().mean().sqrt().clamp_min(1e-12) for part in active])
    everywhere = torch.ones_like(magnitudes, dtype=torch.bool)
    below = smallest(magnitudes, everywhere, sum(drop_count(mask, rate) for mask in masks.values()))
    dropped = {}
    for (name, mask), count, part in zip(masks.items(), counts, torch.split(below, counts), strict=True):
        dropped[name] = smallest(weights[name].abs(), mask, min(int(part.sum()), count - 1, mask.numel() - count))
    return dropped


def signed(weights: Weights, masks: Weights, rate: float) -> dict[str, Tensor]:
    """The smallest positive and the least negative weights, the share `rate` of each (SET: Mocanu et al. 2018)."""
    dropped = {}
    for name, mask in masks.items():
        value, count = weights[name], drop_count(mask, rate)
        positive = mask & (value > 0)
        share = round(count * int(positive.sum()) / max(1, int(mask.sum())))
        above = smallest(value.abs(), positive, min(share, int(positive.sum())))
        dropped[name] = above | smallest(value.abs(), mask & ~positive, count - int(above.sum()))
    return dropped


def taylor(saliencies: Weights, masks: Weights, rate: float) -> dict[str, Tensor]:
    """The share `rate` of each layer whose loss would change least: the smallest (w · ∂L/∂w)² (Molchanov et al. 2019,
    equation 8), given the saliencies w · ∂L/∂w that `ranked` makes, in which order |·| and (·)² agree."""
    return magnitude(saliencies, masks, rate)


def ranked(rule: str, weights: Weights, gradients: Weights) -> Weights:
    """What `rule` looks at: the weights, or w · ∂L/∂w of those that have a gradient."""
    if rule != "taylor":
        return weights
    return {name: weights[name] * gradient for name, gradient in gradients.items()}


def drop_count(mask: Tensor, rate: float) -> int:
    """⌊rate · active⌋, bounded by the free places, so that as many can be grown elsewhere."""
    active = int(mask.sum())
    return min(math.floor(rate * active), mask.numel() - active)


RULES: dict[str, Rule] = {"magnitude": magnitude, "set": signed, "taylor": taylor, "threshold": threshold}
