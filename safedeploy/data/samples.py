"""Samples for a stranger's model file: what it takes, and the labels (`--members m.npz --nonmembers n.npz`)."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.arrays import array_names, read_arrays
from safedeploy.data.checks import finite_float32, labels_in_range, same_length, whole_labels
from safedeploy.data.sensitive import SensitiveColumn, sensitive_column
from safedeploy.data.split import Indices
from safedeploy.errors import UserError


@dataclass(frozen=True, eq=False)
class Samples:
    """x: (n, *input_shape) float32, preprocessed as the model takes it. y: (n,) class indices.

    sensitive: (n,) each sample's value of the data set's sensitive column, which x does not hold; None without one.
    """

    x: NDArray[np.float32]
    y: Indices
    sensitive: Indices | None = None

    def at(self, rows: Indices | NDArray[np.bool_] | slice) -> "Samples":
        """The samples at these positions, or where True, with everything that is kept of each."""
        return Samples(self.x[rows], self.y[rows], None if self.sensitive is None else self.sensitive[rows])


def joined(*parts: Samples) -> Samples:
    """One after the other; the sensitive values where all parts have them."""
    sensitive = [part.sensitive for part in parts if part.sensitive is not None]
    return Samples(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(sensitive) if len(sensitive) == len(parts) else None,
    )


def sample_shape(path: Path) -> tuple[int, ...]:
    """The shape of one sample in an .npz, for a model that leaves sizes free."""
    names = [name for name in array_names(path) if name not in ("y", "sensitive")]
    first = read_arrays(path, "x" if "x" in names or not names else names[0])[0]
    return first.shape[1:] if "x" in names or len(names) < 2 else (len(names), *first.shape[1:])


def read_samples(path: Path, *, input_shape: tuple[int, ...], classes: int, inputs: Sequence[str] = ()) -> Samples:
    """`x` and `y` of an .npz, for a model that takes (n, *input_shape) and tells `classes` classes apart.

    A model of several `inputs` may have an array under each of their names in place of x. Raises UserError where they
    are missing, empty, of unequal length or another shape, not finite, or out of range.
    """
    if "x" not in (held := array_names(path)) and set(inputs) <= set(held) and inputs:
        *parts, y = read_arrays(path, *inputs, "y")
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(f"'{name}' {part.shape}" for name, part in zip(inputs, parts, strict=True))
            raise UserError(f"{path}: the model's inputs have unequal shapes: {shapes}; save them alike")
        x = np.stack(parts, axis=1) if len(parts) > 1 else parts[0]
    else:
        x, y = read_arrays(path, "x", "y")
    if x.ndim == 0 or x.shape[1:] != input_shape:
        wanted = ", ".join(("n", *(str(size) for size in input_shape)))
        raise UserError(f"{path}: x has shape {x.shape}, the model takes ({wanted}); save x as the model takes it")
    labels = whole_labels(y, f"{path}: y")
    same_length(x, labels, str(path))
    labels_in_range(labels, classes, f"{path}: y")
    return Samples(finite_float32(x, f"{path}: x"), labels)


def with_sensitive(paths: Sequence[Path], sides: Sequence[Samples]) -> tuple[list[Samples], SensitiveColumn | None]:
    """`sides` with the array 'sensitive' of each .npz, where there is one. Raises UserError where one alone has it."""
    there = [path for path in paths if "sensitive" in array_names(path)]
    if not there:
        return list(sides), None
    if missing := [path for path in paths if path not in there]:
        raise UserError(f"{there[0]} has an array 'sensitive' and {missing[0]} has none: save it in both or in neither")
    held = [read_arrays(path, "sensitive")[0] for path in paths]
    for path, values, side in zip(paths, held, sides, strict=True):
        if values.shape[:1] != side.y.shape:
            raise UserError(f"{path}: {len(side.y):,} examples in x and 'sensitive' of shape {values.shape}")
    column = sensitive_column(np.concatenate(held), "sensitive", " and ".join(map(str, paths)))
    parts = np.split(column.values, np.cumsum([len(side.y) for side in sides])[:-1])
    return [Samples(side.x, side.y, part) for side, part in zip(sides, parts, strict=True)], column


def check_disjoint(members: Samples, nonmembers: Samples) -> None:
    """Raises UserError with the count where non-members are also members, found by the sha256 of their content."""
    known = content_hashes(members.x)
    shared = sum((content_hashes(nonmembers.x) & Counter(dict.fromkeys(known, len(nonmembers.x)))).values())
    if shared:
        raise UserError(
            f"{shared:,} of the {len(nonmembers.x):,} non-members are also members (same content):"
            " every figure would be wrong; remove them from one of the two files"
        )


def content_hashes(x: NDArray[np.float32]) -> Counter[bytes]:
    """How often each example occurs, by the sha256 of its values; −0 counts as 0."""
    return Counter(content_digests(x).tolist())


def content_digests(x: NDArray[np.float32]) -> NDArray[np.bytes_]:
    """The sha256 of each example's values as (n,) bytes; −0 counts as 0."""
    rows = np.ascontiguousarray(x) + np.float32(0)
    return np.array([hashlib.sha256(row.data).hexdigest() for row in rows], dtype="S64")
