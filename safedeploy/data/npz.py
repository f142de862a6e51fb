"""A data set in an .npz file: `x` and `y`, the kind told by the shape of x."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.arrays import array_names, read_arrays
from safedeploy.data.checks import finite_float32, same_length, whole_labels
from safedeploy.data.dataset import Dataset
from safedeploy.data.sensitive import SensitiveColumn, sensitive_column
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.results import Preprocessing


def load(path: Path, sensitive: str | None = None) -> Dataset:
    """x (n, F) is a table; (n, H, W), (n, C, H, W) or (n, H, W, C) with C of 1 or 3 are images.

    Images are floats in [0, 1] or integers in 0 to 255; one that fits both layouts is taken as (n, C, H, W).
    y (n,) holds class indices from 0, or names. An array called as `sensitive` says, or 'sensitive', is kept beside.
    """
    x, y = read_arrays(path, "x", "y")
    if x.ndim == 0 or y.ndim == 0:
        raise UserError(f"{path}: x and y must be arrays with one entry an example")
    same_length(x, y, str(path))
    labels, names = _labels(y, f"{path}: y")
    if x.ndim == 2:
        rows = finite_float32(x, f"{path}: x")
        return Dataset(path.stem, "table", rows, labels, tuple(names), sensitive=_sensitive(path, sensitive, len(y)))
    images, raw, scale = _pixels(_channels_first(x, path), path)
    channels = images.shape[1]
    return Dataset(
        name=path.stem,
        kind="image",
        x=images,
        y=labels,
        class_names=tuple(names),
        preprocessing=Preprocessing(raw=raw, scale=scale, mean=[0.5] * channels, std=[0.5] * channels),
        sensitive=_sensitive(path, sensitive, len(y)),
    )


def _sensitive(path: Path, wanted: str | None, examples: int) -> SensitiveColumn | None:
    """The array, where there is one: else `wanted` may be a column's number."""
    name = wanted or "sensitive"
    if name in ("x", "y"):
        raise UserError(f"{path}: '{name}' is {'the inputs' if name == 'x' else 'the label'}: name another array")
    names = array_names(path)
    if name not in names:
        if wanted is not None and not wanted.isdigit():
            held = ", ".join(other for other in names if other not in ("x", "y")) or "none"
            raise UserError(f"{path} has no array '{wanted}' for --sensitive (beside x and y it has: {held})")
        return None
    values = read_arrays(path, name)[0]
    if values.shape[:1] != (examples,):
        raise UserError(f"{path}: {examples:,} examples in x and '{name}' of shape {values.shape}; give each its value")
    return sensitive_column(values, name, str(path))


def _labels(y: NDArray[Any], source: str) -> tuple[Indices, Sequence[str]]:
    if y.dtype.kind == "U" and y.ndim == 1:
        names, labels = np.unique(y, return_inverse=True)
        return labels.astype(np.int64), [str(name) for name in names]
    labels = whole_labels(y, source)
    if labels.min() < 0:
        first = int(labels.argmin())
        raise UserError(f"{source} holds {labels[first]} at [{first}]: out of range, classes are counted from 0")
    occurring = np.unique(labels)
    classes = min(int(occurring[-1]) + 1, occurring.size + 1)  # a gap is reported by its first missing class
    return labels, [str(label) for label in range(classes)]


def _channels_first(x: NDArray[Any], path: Path) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return x.transpose(0, 3, 1, 2)
    forms = "(n, columns), (n, H, W), (n, C, H, W) or (n, H, W, C) with 1 or 3 channels"
    raise UserError(f"{path}: x has shape {x.shape}; give {forms}")


def _pixels(x: NDArray[Any], path: Path) -> tuple[NDArray[np.uint8] | NDArray[np.float32], str, float]:
    """The images, what they are, and the scale that brings them to [0, 1]."""
    if x.dtype.kind in "iu":
        if x.size and (x.min() < 0 or x.max() > 255):
            raise UserError(f"{path}: x holds integers from {x.min()} to {x.max()}; pixels must be in 0 to 255")
        return np.ascontiguousarray(x, dtype=np.uint8), "uint8 NCHW, 0 to 255", 1 / 255
    values = finite_float32(x, f"{path}: x")
    if values.size and (values.min() < 0 or values.max() > 1):
        held = f"{values.min():.3g} to {values.max():.3g}"
        raise UserError(f"{path}: x holds floats from {held}; scale pixels to [0, 1] or save them as uint8")
    return values, "float32 NCHW, 0 to 1", 1.0
