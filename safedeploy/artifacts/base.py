"""A model as its holder has it: what every attack sees of it."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Unopenable(Exception):  # noqa: N818
    """The white box cannot be had from this file; the message is the reason, for a report."""


@dataclass(frozen=True)
class Features:
    """What the white box shows for n samples: `logits` (n, classes), `penultimate` (n, d): the last linear input."""

    logits: Array
    penultimate: Array


class WhiteBox(Protocol):
    def features(self, x: Array) -> Features: ...


class Artifact(Protocol):
    """`input_shape` has no batch axis; every `x` is (n, *input_shape), float32, already preprocessed."""

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> Literal["onnx", "executorch", "torch"]: ...

    @property
    def classes(self) -> int: ...

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    def logits(self, x: Array) -> Array:
        """The runtime's answers, (n, classes), float32."""
        ...

    def unpack(self) -> WhiteBox:
        """The white box, out of the file. Raises Unopenable with the reason where the format hides it."""
        ...
