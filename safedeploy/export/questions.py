"""What a bundle's files are asked: real inputs with the torch model's answers, or random ones without it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array
from safedeploy.artifacts.tokens import token_probes
from safedeploy.seeds import numpy_generator

RANDOM = 64
LARGE = 1e6  # far beyond any preprocessed input, and far from what float32 overflows at
HOSTILE = {"NaN": np.nan, "+Inf": np.inf, "-Inf": -np.inf, "one NaN": np.nan}
NO_TOKENS = {"2^24": 2.0**24, "-2^24": -(2.0**24)}  # beyond any vocabulary, and whole as float32


@dataclass(frozen=True, eq=False)
class Known:
    """The torch model's side: labels y (n,), its logits (n, classes) for the inputs, and how to ask it more.

    rounding: how far float32 may carry its answers to given inputs (`reference.torch_rounding`).
    """

    y: NDArray[np.int64]
    logits: Array
    answer: Callable[[Array], Array] = field(repr=False)
    rounding: Callable[[Array], float] = field(default=lambda x: 0.0, repr=False)


@dataclass(frozen=True, eq=False)
class Questions:
    """x: (n, *input_shape) float32, preprocessed. `described`: what they are. `known`: None without the torch model.

    tokens: x are token numbers.
    """

    x: Array
    described: str
    known: Known | None = None
    tokens: bool = False

    def extremes(self) -> dict[str, Array]:
        """Unusual finite inputs by name, each (1, *input_shape)."""
        values = {"zeros": 0.0, "lowest": self.x.min(), "highest": self.x.max()}
        if not self.tokens:
            values |= {"large": LARGE, "-large": -LARGE}
        return {name: np.full((1, *self.x.shape[1:]), value, np.float32) for name, value in values.items()}


def random_questions(input_shape: tuple[int, ...], *, tokens: bool = False) -> Questions:
    """Normal noise, or token numbers, the same every time."""
    if tokens:
        return Questions(token_probes(RANDOM, input_shape, 0), f"{RANDOM} random inputs", tokens=True)
    x = numpy_generator(0, "verify").standard_normal((RANDOM, *input_shape), dtype=np.float32)
    return Questions(x, f"{RANDOM} random inputs")


def hostile(input_shape: tuple[int, ...], *, tokens: bool = False) -> dict[str, Array]:
    """Inputs that are not finite, or no tokens, by name, each (1, *input_shape)."""
    if tokens:
        return {name: np.full((1, *input_shape), value, np.float32) for name, value in NO_TOKENS.items()}
    inputs = {name: np.full((1, *input_shape), value, np.float32) for name, value in HOSTILE.items()}
    inputs["one NaN"].reshape(-1)[1:] = 0
    return inputs
