"""Observers whose scales have few significant bits: the file stays as large, and its zip gets smaller.

A .pte file stores a scale for every output channel twice, the weight's and the bias' (the product of the weight's and
the input's). As found they are 32 bits of which 24 look random; with few significant bits they repeat, and a zip takes
them as the same few words. Scales are rounded up, so ranges only grow and nothing is clipped that was not before.
"""

from typing import Any

import torch
from torch import Tensor
from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver

WEIGHT_BITS = 5  # a step at most 1/16 coarser
ACTIVATION_BITS = 8  # at most 1/128


def rounded_up(scale: Tensor, bits: int) -> Tensor:
    """Positive numbers, each the nearest one of `bits` significant bits that is not smaller."""
    mantissa, exponent = torch.frexp(scale.double())
    return torch.ldexp(torch.ceil(torch.ldexp(mantissa, torch.tensor(bits))), exponent - bits).to(scale.dtype)


class ChannelRange(PerChannelMinMaxObserver):  # type: ignore[misc]  # torchao has no types
    """Of a weight, by output channel; symmetric."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        scale, zero_point = super().calculate_qparams()
        return rounded_up(scale, WEIGHT_BITS), zero_point


class TensorRange(MinMaxObserver):  # type: ignore[misc]
    """Of a whole weight; symmetric."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        scale, zero_point = super().calculate_qparams()
        return rounded_up(scale, WEIGHT_BITS), zero_point


class ActivationRange(HistogramObserver):  # type: ignore[misc]
    """Of an activation; its smallest value stays where it was, as near as the new step allows."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        found, zero_point = super().calculate_qparams()
        scale = rounded_up(found, ACTIVATION_BITS)
        low: Any = (self.quant_min - zero_point) * found
        moved = self.quant_min - torch.round(low / scale).to(zero_point.dtype)
        return scale, torch.clamp(moved, self.quant_min, self.quant_max)
