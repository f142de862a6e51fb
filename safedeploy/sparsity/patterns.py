"""The pattern library of 3 × 3 kernels (Niu et al. 2020, PatDNN, section 4.1): at most 8 patterns of 4 places."""

from collections.abc import Iterable

import torch
from torch import Tensor

from safedeploy.sparsity.layerwise import PATTERN

LIBRARY = 8
CENTRE = 4  # of the 9 places, row by row


def learned_library(weights: Iterable[Tensor]) -> Tensor:
    """(p, 3, 3) bool, p ≤ 8: the patterns that most kernels have; ties by the patterns' places.

    weights: (outputs, inputs, 3, 3) each. A kernel's pattern is its centre and the three other places of largest
    magnitude; a kernel of zeros has none.
    """
    kernels = torch.cat([weight.detach().cpu().reshape(-1, 9) for weight in weights])
    kernels = kernels[(kernels != 0).any(dim=1)]
    strength = kernels.abs()
    strength[:, CENTRE] = torch.inf
    places = strength.argsort(dim=1, descending=True, stable=True)[:, :PATTERN]
    codes = (1 << places).sum(dim=1) if len(kernels) else torch.tensor([0b010111])
    counts = codes.bincount(minlength=1 << 9)
    order = counts.argsort(descending=True, stable=True)[:LIBRARY]
    most = order[counts[order] > 0]
    library: Tensor = (most.view(-1, 1) >> torch.arange(9)) & 1 == 1
    return library.view(-1, 3, 3)
