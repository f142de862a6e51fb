"""An artifact that answers once: ten attacks on the same samples share one forward pass."""

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Artifact, Features, Format, Inner, Unopenable, WhiteBox


def remember(artifact: Artifact) -> Artifact:
    """`artifact` with its answers kept for every array object it was asked about.

    An array counts as the same when it is the same object, so it must not be written to afterwards. Arrays and answers
    are kept as long as the returned artifact is.
    """
    return artifact if isinstance(artifact, Remembered) else Remembered(artifact)


class Remembered:
    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._logits: dict[int, tuple[Array, Array]] = {}  # by id; the array is held, so no other can have its id
        self._white_box: RememberedWhiteBox | Unopenable | None = None

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def format(self) -> Format:
        return self.artifact.format

    @property
    def classes(self) -> int:
        return self.artifact.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.artifact.input_shape

    @property
    def tokens(self) -> bool:
        """Whether the inputs are whole numbers that stand for words."""
        return bool(getattr(self.artifact, "tokens", False))

    def logits(self, x: Array) -> Array:
        if id(x) not in self._logits:
            self._logits[id(x)] = (x, self._answer(x))
        return self._logits[id(x)][1]

    def unpack(self) -> WhiteBox:
        if self._white_box is None:
            try:
                self._white_box = RememberedWhiteBox(self.artifact.unpack())
            except Unopenable as error:
                self._white_box = error
        if isinstance(self._white_box, Unopenable):
            raise self._white_box
        return self._white_box

    def _answer(self, x: Array) -> Array:
        """A module's opened white box answers bit for bit as its black box, so one forward pass serves both."""
        if self.format == "torch" and isinstance(self._white_box, RememberedWhiteBox):
            return self._white_box.features(x).logits
        return self.artifact.logits(x)


class RememberedWhiteBox:
    def __init__(self, white_box: WhiteBox) -> None:
        self._inner = white_box
        self._features: dict[int, tuple[Array, Features]] = {}

    def features(self, x: Array) -> Features:
        if id(x) not in self._features:
            self._features[id(x)] = (x, self._inner.features(x))
        return self._features[id(x)][1]

    def inner(self, x: Array, y: NDArray[np.int64]) -> Inner:
        """Not kept: activations of every layer are many times the samples."""
        return self._inner.inner(x, y)
