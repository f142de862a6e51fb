"""The structures a mask can have: single weights, or whole channels that can be removed from the model that ships."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from safedeploy.recipe import Structure
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.channels import channel_masks
from safedeploy.sparsity.masks import Masks, largest_masks, shapes
from safedeploy.sparsity.shrink import shrink


def masks_by_magnitude(module: nn.Module, input_shape: Sequence[int], density: float, structure: Structure) -> Masks:
    """Masks that keep what is largest: ERK's count of each layer's weights, or channels ranked over the network."""
    if structure == "channel":
        return channel_masks(module, input_shape, density)
    return largest_masks(module, erk(shapes(module), density))


def require_reachable(module: nn.Module, input_shape: Sequence[int], density: float, structure: Structure) -> None:
    """Raises UserError where the module cannot have this density in this structure, before anything is trained.

    For channels the module is tried without those that its present weights rank lowest.
    """
    if structure == "irregular":
        erk(shapes(module), density)
        return
    tried = copy.deepcopy(module).cpu()
    masks = channel_masks(tried, input_shape, density)
    with torch.no_grad():
        for name, parameter in tried.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    shrink(tried, input_shape)


@torch.no_grad()
def as_shipped(module: nn.Module, input_shape: Sequence[int], structure: Structure) -> nn.Module:
    """What is exported of a trained module: a copy of it, or what is left of it without its empty channels.

    Masks leave zeros of both signs, which pack worse than zeros of one: here they lose theirs.
    """
    shipped = shrink(module, input_shape) if structure == "channel" else copy.deepcopy(module)
    for parameter in shipped.parameters():
        parameter.add_(0.0)
    return shipped
