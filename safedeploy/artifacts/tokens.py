"""Inputs that are token numbers: which modules take them, and some that any vocabulary has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from safedeploy.artifacts.base import Array

if TYPE_CHECKING:
    from torch import nn


def takes_tokens(module: "nn.Module") -> bool:
    """Whether it, or what it wraps, says so: `tokens = True`. It takes them as int64 or, held exactly, as float32."""
    return any(getattr(part, "tokens", False) is True for part in module.modules())


def token_probes(count: int, input_shape: Sequence[int], seed: int) -> Array:
    """(count, *input_shape): 0 and 1 at random, which stand for something, or nothing, in every vocabulary."""
    return np.random.default_rng(seed).integers(0, 2, (count, *input_shape)).astype(np.float32)
