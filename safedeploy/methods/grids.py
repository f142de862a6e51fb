"""The values that shipped weights can have: int8 steps for each output channel, or a palette for each weight.

As the exporters place them (a weight exported otherwise is rounded once more), so that training can meet them first.
"""

import torch
from torch import Tensor

LEVELS = 127
SCALE_BITS = 5  # significant bits of a channel's step, rounded up: steps shared by channels pack well
SMALLEST_RANGE = 1e-4  # of a channel's magnitudes; a narrower one is taken to be as wide
BINS = 8  # for each value of a palette
ROUNDS = 100  # of Lloyd's iteration, which from then on moves a palette little


def int8(weight: Tensor) -> Tensor:
    """The nearest multiples of each output channel's step; weight (outputs, …), output channels first.

    The step is the channel's largest magnitude over 127, rounded up to 5 significant bits, so zero stays zero and
    nothing is clipped.
    """
    step = int8_step(largest(weight)).view(-1, *[1] * (weight.dim() - 1))
    return (weight / step).round_().mul_(step)


def largest(weight: Tensor) -> Tensor:
    """(outputs,): each output channel's largest magnitude."""
    rows = weight.flatten(1)
    return torch.maximum(rows.amax(1), -rows.amin(1))


def int8_step(largest: Tensor) -> Tensor:
    """(outputs,): the step of channels with these largest magnitudes."""
    mantissa, exponent = torch.frexp(largest.clamp_min(SMALLEST_RANGE).double() / LEVELS)
    return torch.ldexp(torch.ldexp(mantissa, torch.tensor(SCALE_BITS)).ceil(), exponent - SCALE_BITS).to(largest.dtype)


def fitted_palette(weight: Tensor, bits: int) -> Tensor:
    """At most 2^bits values, ascending, near which the non-zeros of `weight` lie: all of these where there are no more.

    k-means in one dimension (Lloyd 1957), begun as dense as the cube root of the values' own density (Panter and Dite
    1951).
    """
    values = weight[weight != 0].double().sort().values
    distinct: Tensor = torch.unique_consecutive(values)
    if len(distinct) <= 2**bits:
        return distinct.to(weight.dtype)
    bins = torch.linspace(float(values[0]), float(values[-1]), BINS * 2**bits + 1, device=weight.device).double()
    inside = torch.searchsorted(values, bins[1:-1])
    inside = torch.cat([inside.new_zeros(1), inside, inside.new_full((1,), len(values))]).diff()
    share = inside.double().pow(1 / 3).cumsum(0)
    places = (torch.arange(2**bits, device=weight.device) + 0.5) / 2**bits * share[-1]
    centres = bins[torch.searchsorted(share, places)]
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(ROUNDS):
        ends = torch.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_full((1,), len(values))])
        count = ends.diff()
        centres = torch.where(count > 0, sums[ends[1:]] - sums[ends[:-1]], centres) / count.clamp_min(1)
    return centres.to(weight.dtype)


def nearest(weight: Tensor, palette: Tensor) -> Tensor:
    """Each non-zero of `weight` by the nearest value of `palette`, which ascends; zeros stay zero."""
    if not len(palette):
        return weight.clone()
    middles = (palette[1:] + palette[:-1]) / 2
    return torch.where(weight != 0, palette[torch.bucketize(weight.contiguous(), middles)], 0)
