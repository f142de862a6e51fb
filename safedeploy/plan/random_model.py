"""A model with random weights that stands for a trained one: weights and batch-norm statistics drawn from a seed."""

import math
from typing import TYPE_CHECKING

from safedeploy.seeds import torch_generator

if TYPE_CHECKING:
    from torch import nn


def random_model(name: str, input_shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The model `name` in eval mode: normal weights of He et al.'s scale (2015), batch norms as if trained.

    torch's own fresh weights are uniform, which zips worse than trained weights do; its fresh batch norms are
    all alike, and exporters store equal tensors once, so that a file would come out too small.
    Raises UserError for what cannot be built.
    """
    import torch
    from torch import nn

    from safedeploy.models.zoo import build_model
    from safedeploy.sparsity.masks import prunable

    module = build_model(name, input_shape, classes, seed)
    generator = torch_generator(seed, "plan")
    with torch.no_grad():
        for weight in prunable(module).values():
            weight.normal_(0, math.sqrt(2 * weight.shape[0] / weight.numel()), generator=generator)
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)) and part.running_mean is not None:
                assert part.running_var is not None
                part.running_mean.normal_(0, 0.1, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)
                if part.affine:
                    part.weight.uniform_(0.5, 1.5, generator=generator)
                    part.bias.normal_(0, 0.1, generator=generator)
    return module.eval()
