"""Fewer bits for a weight's non-zero values: a lossy step of its own, before codes that are exact.

float16: the nearest half. int8: an integer of -127 to 127 times its output channel's scale. palette4 to palette8: one
of 2^4 to 2^8 values a tensor, placed where they miss its own values least (k-means in one dimension; Lloyd 1957).
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Rounding = Literal["float16", "int8", "palette4", "palette5", "palette6", "palette7", "palette8"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

LEVELS = 127
# A scale of so few bits times an integer of seven is exact in float32's 24, so a file may hold integer and scale apart.
SCALE_BITS = 16
SMALLEST_SCALE = 2.0**-100

Floats = NDArray[np.float32]


def round_values(weight: Floats, how: Rounding, *, axis: int = 0) -> Floats:
    """A weight of the same shape with rounded values: zeros stay zero, and rounding again changes nothing.

    axis: the output channels', for int8. A value that rounds to zero becomes one more zero; halves are kept finite.
    """
    if how == "float16":
        largest = float(np.finfo(np.float16).max)
        return np.clip(weight, -largest, largest).astype(np.float16).astype(np.float32)
    if how == "int8":
        levels, scale = int8_levels(weight, axis=axis)
        return levels.astype(np.float32) * scale
    return _nearest(weight, palette(weight, int(how.removeprefix("palette"))))


def int8_levels(weight: Floats, *, axis: int = 0) -> tuple[NDArray[np.int8], Floats]:
    """(integers, scales that broadcast against them): their float32 product is exact, and is `weight` if it was one.

    A channel's scale is its largest magnitude over 127, rounded up to 16 significant bits.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others, keepdims=True, initial=0).astype(np.float64)
    scale = np.maximum(_rounded_up(largest / LEVELS), SMALLEST_SCALE)
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def _rounded_up(value: NDArray[np.float64]) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(value)
    rounded: NDArray[np.float64] = np.ldexp(np.ceil(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)
    return rounded


def palette(weight: Floats, bits: int) -> Floats:
    """At most 2^bits values, ascending, for the non-zeros of `weight`: all of them where there are no more.

    Lloyd's iteration never raises the squared error; it starts once from values as far apart everywhere, once from
    values that are closer where the weights are many (density^⅓, best for many values: Panter and Dite 1951).
    """
    values = np.sort(weight[weight != 0].astype(np.float64))
    distinct = np.unique(values)
    if distinct.size <= 2**bits:
        return distinct.astype(np.float32)
    found = [_lloyd(values, start) for start in (_even(values, 2**bits), _companded(values, 2**bits))]
    best: Floats = min(found, key=lambda one: _squared_error(values, one)).astype(np.float32)
    return np.unique(best)


def _even(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    step = (values[-1] - values[0]) / count
    centres: NDArray[np.float64] = values[0] + step * (np.arange(count) + 0.5)
    return centres


def _companded(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    density, edges = np.histogram(values, bins=8 * count)
    share = np.concatenate([[0], np.cumsum(np.cbrt(density))])
    centres: NDArray[np.float64] = np.interp((np.arange(count) + 0.5) / count * share[-1], share, edges)
    return centres


def _lloyd(values: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each centre to the mean of the values nearest to it, until none moves; `values` ascend, so a part is a range."""
    sums = np.concatenate([[0], np.cumsum(values)])
    for _ in range(1000):
        ends = np.concatenate([[0], np.searchsorted(values, (centres[1:] + centres[:-1]) / 2), [len(values)]])
        count = np.diff(ends)
        moved = np.where(count > 0, np.diff(sums[ends]) / np.maximum(count, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _nearest(weight: Floats, centres: Floats) -> Floats:
    """Each non-zero by the nearest of `centres`, which ascend."""
    if centres.size == 0:
        return weight.copy()
    middles = (centres[1:].astype(np.float64) + centres[:-1]) / 2
    rounded: Floats = np.where(weight != 0, centres[np.searchsorted(middles, weight)], np.float32(0))
    return rounded


def _squared_error(values: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
    middles = (centres[1:] + centres[:-1]) / 2
    return float(np.square(values - centres[np.searchsorted(middles, values)]).sum())
