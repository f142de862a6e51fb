"""A model as its holder has it: what every attack sees of it."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Format = Literal["onnx", "executorch", "torch", "scores"]


class Unopenable(Exception):  # noqa: N818
    """The white box cannot be had from this file; the message is the reason, for a report."""


@dataclass(frozen=True)
class Features:
    """What the white box shows for n samples: `logits` (n, classes), `penultimate` (n, d): the last linear input."""

    logits: Array
    penultimate: Array


@dataclass(frozen=True, eq=False)
class Inner:
    """What n samples leave inside, layer by layer, in the order of the forward pass.

    layers: names of the L layers with weights. activations: their outputs, each (n, d) float32, flattened.
    gradient_norms: (n, L) float64, the Euclidean norm of ∂ cross-entropy(sample, label) / ∂ the layer's parameters.
    """

    layers: tuple[str, ...]
    activations: tuple[Array, ...]
    gradient_norms: NDArray[np.float64]


class WhiteBox(Protocol):
    def features(self, x: Array) -> Features: ...

    def inner(self, x: Array, y: NDArray[np.int64]) -> Inner:
        """Raises Unopenable with the reason where only the last layer can be read."""
        ...


class Artifact(Protocol):
    """`input_shape` has no batch axis; every `x` is (n, *input_shape), float32, already preprocessed."""

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> Format: ...

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


class FileArtifact(Artifact, Protocol):
    """A model file in its runtime. One call takes at most `batch` samples, and no fewer where that is `fixed_batch`."""

    @property
    def batch(self) -> int: ...

    @property
    def fixed_batch(self) -> bool: ...

    def answers(self, x: Array) -> Array:
        """What the runtime gives for `x` of the right shape, (n, classes), whatever it is."""
        ...
