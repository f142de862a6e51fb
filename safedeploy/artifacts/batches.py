"""The samples of a call, checked and cut into the batches a runtime takes."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from safedeploy.artifacts.base import Array
from safedeploy.errors import UserError


def as_input(x: ArrayLike, input_shape: Sequence[int], name: str) -> Array:
    """`x` as contiguous float32 (n, *input_shape). Raises UserError on another shape, a NaN or an infinity."""
    array = np.ascontiguousarray(x, dtype=np.float32)
    if array.shape[1:] != tuple(input_shape) or array.ndim == 0:
        wanted = f"(n, {', '.join(map(str, input_shape))})"
        raise UserError(f"{name} takes inputs of shape {wanted}, not {array.shape}; prepare them as in training")
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(array.sum())  # nothing but NaN, infinity or an overflow: one pass, no copy
    if suspect and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
        raise UserError(f"{bad} of {len(array)} inputs for {name} hold NaN or infinite values; remove or repair them")
    return array


def in_batches(x: Array, size: int, run: Callable[[Array], tuple[Array, ...]], *, pad: bool) -> tuple[Array, ...]:
    """`run` on slices of at most `size` rows, its outputs joined; `pad` repeats the last row to fill every slice."""
    if len(x) == 0:
        return tuple(part[:0] for part in run(np.zeros((size if pad else 1, *x.shape[1:]), dtype=np.float32)))
    parts = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        missing = size - len(rows) if pad else 0
        padded = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
        parts.append(tuple(part[: len(rows)] for part in run(padded)))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def finite(logits: Array, name: str) -> Array:
    """`logits` themselves. Raises UserError where one is NaN or infinite."""
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if bad:
        raise UserError(f"{name} answers NaN or infinity for {bad} of {len(logits)} inputs; export it again")
    return logits
