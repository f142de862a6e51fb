"""A labelled data set in memory, and its one deterministic road to a model's input."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.sensitive import SensitiveColumn
from safedeploy.data.split import MEMBERS, Indices, Split
from safedeploy.data.tokeniser import Tokeniser, fit
from safedeploy.results import Preprocessing


@dataclass(frozen=True, eq=False)
class Dataset:
    """n labelled examples.

    x: images (n, channels, height, width), uint8 or float32 in [0, 1], table rows (n, columns) float32, or texts (n,),
    strings as objects, of which a model sees the first `length` tokens.
    y: (n,) class indices.
    official_test: (n,) bool, the data set's own test examples, or None where it has none.
    preprocessing: fixed by the data set, or None to standardise columns with the members' mean and deviation,
    or to fit a tokeniser on the members' texts.
    columns: names of a table's columns, GROUP=VALUE for those of a one-hot group; None where they have none.
    sensitive: what an attacker is to infer of each example, and `x` does not hold; None where nothing is named.
    """

    name: str
    kind: Literal["image", "table", "text"]
    x: NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.object_]
    y: Indices
    class_names: tuple[str, ...]
    official_test: NDArray[np.bool_] | None = None
    preprocessing: Preprocessing | Tokeniser | None = None
    columns: tuple[str, ...] | None = None
    sensitive: SensitiveColumn | None = None
    length: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.length,) if self.kind == "text" else self.x.shape[1:]

    @property
    def fingerprint(self) -> str:
        """sha256 over shapes, types and content: the same data set on another machine has the same."""
        digest = hashlib.sha256()
        for part in (self.x, self.y, *([self.sensitive.values] if self.sensitive else [])):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            for content in _content(part):
                digest.update(content)
        return digest.hexdigest()


def _content(part: NDArray[Any]) -> Iterator[Any]:
    """Strings one by one, each with its length before it."""
    if part.dtype != object:
        yield np.ascontiguousarray(part).data
        return
    for text in part:
        encoded = text.encode()
        yield len(encoded).to_bytes(8, "little") + encoded


def preprocessing(dataset: Dataset, split: Split) -> Preprocessing | Tokeniser:
    """The data set's own; else column means and deviations of the members (a constant column keeps deviation 1), or a
    tokeniser fitted on the members' texts."""
    if dataset.preprocessing is not None:
        return dataset.preprocessing
    if dataset.kind == "text":
        return fit(dataset.x[split.indices(*MEMBERS)].tolist(), dataset.length)
    rows = dataset.x[split.indices(*MEMBERS)].astype(np.float64)
    std = rows.std(axis=0)
    std[std < 1e-12] = 1.0
    return Preprocessing(raw="float32 columns", scale=1.0, mean=rows.mean(axis=0).tolist(), std=std.tolist())


def preprocess(x: NDArray[Any], how: Preprocessing | Tokeniser) -> NDArray[np.float32]:
    """(x · scale − mean) / std along axis 1: channels of images, columns of tables; texts' token numbers; float32."""
    if isinstance(how, Tokeniser):
        return how.ids(x.tolist())
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, std = (np.asarray(values, dtype=np.float32).reshape(shape) for values in (how.mean, how.std))
    out = x.astype(np.float32)
    out *= np.float32(how.scale)
    out -= mean
    out /= std
    return out
