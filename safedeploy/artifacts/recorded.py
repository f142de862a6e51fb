"""Answers that a model gave on another machine, as an artifact: an input is the number of a recorded row."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Unopenable, WhiteBox


class RecordedArtifact:
    """Knows the answers to its rows and to nothing else. `answers`: (n, classes) logits, float32."""

    format: Literal["scores"] = "scores"
    input_shape = (1,)

    def __init__(self, path: Path, answers: Array) -> None:
        self.name, self._answers = path.name, answers
        self.classes = int(answers.shape[1])

    def logits(self, x: Array) -> Array:
        """Raises Unopenable for an input that was not recorded: an attack made it."""
        rows = x[:, 0].astype(np.int64)
        if not np.array_equal(rows, x[:, 0]) or rows.min(initial=0) < 0 or rows.max(initial=0) >= len(self._answers):
            raise Unopenable("recorded answers cannot be asked about other inputs")
        return self._answers[rows]

    def unpack(self) -> WhiteBox:
        raise Unopenable("recorded answers show nothing of the model's inside")

    @property
    def rows(self) -> NDArray[np.float32]:
        """Every row's input, (n, 1)."""
        return np.arange(len(self._answers), dtype=np.float32)[:, None]
