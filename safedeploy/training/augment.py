"""Random crop and flip on a batch, as in the CIFAR literature: pad with zeros, crop back, mirror half of them."""

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.recipe import TrainingRecipe


def augment(x: Tensor, recipe: TrainingRecipe, generator: torch.Generator) -> Tensor:
    """x: (b, channels, height, width). Training only: members and non-members reach attacks without it."""
    batch, channels, height, width = x.shape
    pad = recipe.shift(height)
    padded = functional.pad(x, (pad, pad, pad, pad))
    top, left = (torch.randint(2 * pad + 1, (batch,), generator=generator).to(x.device) for _ in range(2))
    mirror = (torch.rand(batch, generator=generator) < (0.5 if "flip" in recipe.augment else 0)).to(x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    columns = torch.where(mirror[:, None], columns.flip(1), columns)
    sample = torch.arange(batch, device=x.device)[:, None, None, None]
    plane = torch.arange(channels, device=x.device)[None, :, None, None]
    return padded[sample, plane, rows[:, None, :, None], columns[:, None, None, :]]
