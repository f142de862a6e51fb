"""int8 as a file uses it: real values from integers, and rounding to the integers' grid that gradients pass through."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.shapes import Run
from safedeploy.artifacts.pte.xnnpack import Scales, Value

LOWEST, HIGHEST = -128, 127


def real(value: Value) -> Tensor:
    """A constant's real values: scale · (integer - zero point), along its axis where every channel has a scale."""
    assert value.constant is not None
    stored = torch.from_numpy(value.constant.astype(np.float32))
    if value.scales is None:
        return stored
    scale = torch.from_numpy(value.scales.scale.copy())
    if value.scales.axis is not None:
        if not 0 <= value.scales.axis < stored.ndim or stored.shape[value.scales.axis] != len(scale):
            raise Unreadable(f"the file is damaged: {len(scale)} scales for a constant of shape {value.shape}")
        scale = scale.reshape([-1 if axis == value.scales.axis else 1 for axis in range(stored.ndim)])
    return (stored - value.scales.zero_point) * scale


def rounding(value: Value, unit: Tensor | None = None) -> Run | None:
    """What rounds to the grid of an int8 value; None for a float32 one. unit: as in `straight_through`."""
    if value.datatype == "fp32":
        return None
    if value.datatype != "qint8" or value.scales is None or value.scales.axis is not None:
        raise Unreadable(f"XNNPACK's graph computes in {value.datatype}, which is not read here")
    return grid(float(value.scales.scale[0]), value.scales.zero_point, unit=unit)


def unit_of(source: Value, weight: Value | None = None, count: int = 1) -> Tensor | None:
    """The real value of one step of an integer sum over `source`: (channels,) or (1,); None where it is no such sum.

    weight: what the summands are multiplied by. count: what the sum is divided by.
    """
    factors = [one.scales for one in (source, weight) if one is not None]
    known = [scales.scale for scales in factors if scales is not None]
    return torch.from_numpy(math.prod(known) / np.float32(count)) if len(known) == len(factors) else None


def from_stored(value: Value) -> Run:
    """Real values of what crosses into a graph: int8 outside of it is a tensor of whole numbers."""
    rounding(value)
    if value.scales is None:
        return _same
    return partial(from_levels, scale=float(value.scales.scale[0]), zero_point=value.scales.zero_point)


def to_stored(value: Value) -> Run:
    """The other way round."""
    rounding(value)
    if value.scales is None:
        return _same
    return partial(to_levels, scale=float(value.scales.scale[0]), zero_point=value.scales.zero_point)


def from_levels(x: Tensor, *, scale: float, zero_point: int) -> Tensor:
    return (x.to(torch.float32) - zero_point) * scale


def to_levels(x: Tensor, *, scale: float, zero_point: int) -> Tensor:
    """Whole numbers in float32, so that gradients pass."""
    return x / scale + zero_point


def _same(x: Tensor) -> Tensor:
    return x


def grid(
    scale: float, zero_point: int, lowest: int = LOWEST, highest: int = HIGHEST, unit: Tensor | None = None
) -> Run:
    if not scale > 0 or (unit is not None and not bool((unit > 0).all())):
        raise Unreadable("the file is damaged: a scale that is not positive")
    bounds = (lowest - zero_point, highest - zero_point)
    return partial(straight_through, scale=scale, lowest=bounds[0], highest=bounds[1], unit=unit)


def straight_through(x: Tensor, *, scale: float, lowest: int, highest: int, unit: Tensor | None) -> Tensor:
    """x on the grid of `scale`, half to even; the gradient is that of x (Bengio et al. 2013, arXiv:1308.3432).

    unit: x is this times an integer, by channels along the last axis. Floats that sum it in another order give it
    other last digits, and values half-way between two steps would fall to either side: the integer is restored first.
    """
    levels = torch.div(x.detach(), scale if unit is None else unit)
    if unit is not None:
        levels = levels.round_().mul_(unit / scale)
    nearest = levels.round_().clamp(lowest, highest).mul_(scale)
    return x + (nearest - x).detach() if x.requires_grad else nearest


def sum_on_grid(a: Value, b: Value, output: Value, bounds: Run | None, sign: int = 1) -> Run | None:
    """What adds (sign 1) or subtracts (-1) int8 values as XNNPACK does; None where one of the three is not int8.

    XNNPACK sums in fixed point: each scale over the output's has 21 bits (xnn_init_qs8_add_minmax_scalar_params), and
    a half rounds up.
    """
    if a.scales is None or b.scales is None or output.scales is None or rounding(output) is None:
        return None
    scales = [float(one.scales.scale[0]) for one in (a, b, output) if one.scales is not None]
    ratios = [np.float32(scale) / np.float32(scales[2]) for scale in scales[:2]]
    if not min(scales) > 0:
        raise Unreadable("the file is damaged: a scale that is not positive")
    shift = 20 - (math.frexp(max(ratios))[1] - 1)
    multipliers = [float(np.rint(np.float64(ratio) * 2.0**shift)) / 2.0**shift for ratio in ratios]
    zero_point = output.scales.zero_point
    return partial(
        _fixed_point_sum,
        scales=tuple(scales),
        multipliers=(multipliers[0], sign * multipliers[1]),
        limits=(LOWEST - zero_point, HIGHEST - zero_point),
        bounds=bounds,
        sign=sign,
    )


def _fixed_point_sum(
    a: Tensor,
    b: Tensor,
    *,
    scales: tuple[float, ...],
    multipliers: tuple[float, float],
    limits: tuple[int, int],
    bounds: Run | None,
    sign: int,
) -> Tensor:
    total = a + sign * b
    total = total if bounds is None else bounds(total)
    first, second = (torch.round(x.detach() / scale).double() for x, scale in zip((a, b), scales, strict=False))
    levels = torch.floor(first * multipliers[0] + second * multipliers[1] + 0.5)
    nearest = levels.clamp(*limits).float() * scales[2]
    nearest = nearest if bounds is None else bounds(nearest)
    return total + (nearest - total).detach() if total.requires_grad else nearest


def same_grid(one: Value, other: Value) -> bool:
    """Moving `one`'s numbers into `other` rounds nothing."""

    def key(scales: Scales | None) -> Any:
        return None if scales is None else (scales.scale.tobytes(), scales.zero_point, scales.axis)

    return one.datatype == other.datatype and key(one.scales) == key(other.scales)
