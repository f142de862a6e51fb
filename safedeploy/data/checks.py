"""What every labelled data set must satisfy; each check raises one line that names the source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.split import Indices
from safedeploy.errors import UserError


def finite_float32(x: NDArray[Any], source: str) -> NDArray[np.float32]:
    """`x` as float32; a NaN, an infinity or a value beyond float32 is an error with the count and the first place."""
    if x.dtype.kind not in "biuf":
        raise UserError(f"{source} holds {x.dtype} values; give numbers")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(x, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        bad = int(values.size - np.count_nonzero(finite))
        first = [int(i) for i in np.unravel_index(int(finite.argmin()), finite.shape)]
        raise UserError(f"{source} has {bad:,} NaN or infinite values, the first at {first}; clean or drop these rows")
    return values


def whole_labels(y: NDArray[Any], source: str) -> Indices:
    """Class indices (n,) int64 out of any numeric array of whole numbers; the range is checked elsewhere."""
    if y.ndim != 1:
        raise UserError(f"{source} has shape {y.shape}; give one class index an example, shape (n,)")
    if y.dtype.kind not in "biuf":
        raise UserError(f"{source} holds {y.dtype} values; give whole numbers, the classes counted from 0")
    if y.dtype.kind == "f":
        whole = np.isfinite(y) & (y == np.floor(y))
        if not whole.all():
            first = int(whole.argmin())
            raise UserError(f"{source} holds {y[first]} at [{first}]: labels must be whole numbers, counted from 0")
    return y.astype(np.int64)


def labels_in_range(y: Indices, classes: int, source: str) -> None:
    """Every label is in 0 … classes − 1."""
    outside = (y < 0) | (y >= classes)
    if outside.any():
        first = int(outside.argmax())
        count = int(np.count_nonzero(outside))
        raise UserError(
            f"{source}: {count:,} labels are out of range 0 to {classes - 1}, the first is {y[first]} at [{first}]"
        )


def every_class_occurs(y: Indices, class_names: Sequence[str], source: str) -> None:
    """There are at least two classes, and each has an example."""
    if len(class_names) < 2:
        raise UserError(f"{source} has {len(class_names)} class; a classifier needs at least two")
    present = np.unique(y)
    if present.size < len(class_names):
        missing = int(np.setdiff1d(np.arange(present.size + 1), present)[0])
        raise UserError(
            f"{source}: class {class_names[missing]} has no examples (labels run from {present[0]} to {present[-1]},"
            f" {present.size} occur); number the classes from 0 without gaps"
        )


def same_length(x: NDArray[Any], y: NDArray[Any], source: str) -> None:
    if x.shape[0] != y.shape[0]:
        raise UserError(f"{source}: {x.shape[0]:,} examples in x and {y.shape[0]:,} labels in y; give each its label")
    if x.shape[0] == 0:
        raise UserError(f"{source} holds no examples")
