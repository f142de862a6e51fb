"""The optimiser a recipe names: SGD with Nesterov momentum, or AdamW (Loshchilov & Hutter 2019)."""

from collections.abc import Iterable

import torch
from torch import nn

from safedeploy.recipe import TrainingRecipe

MOMENTS = ("momentum_buffer", "exp_avg", "exp_avg_sq")  # what is kept of a parameter's past gradients
SECOND = 0.999  # β₂


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """AdamW takes the recipe's momentum as its β₁."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=(recipe.momentum, SECOND), weight_decay=decay)
    return torch.optim.SGD(
        parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0
    )
