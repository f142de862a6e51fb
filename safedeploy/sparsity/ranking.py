"""The largest or smallest values of a tensor, without sorting it."""

import numpy as np
import torch
from torch import Tensor


def largest(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Where (bool) the `count` largest values are that `among` (bool, same shape) allows; of equal ones the first.

    NaN counts as ∞, so that the count is exact even then; of a count beyond what `among` allows, all of it is chosen.
    """
    places = _positions(among.flatten())
    values = value.detach().flatten()[places].nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    if not 0 < count < len(values):
        return among.clone() if count > 0 else torch.zeros_like(among)
    last = _of_rank(values, count)
    chosen = values > last
    chosen[_positions(values == last)[: count - int(chosen.count_nonzero())]] = True
    return among.new_zeros(among.numel()).index_copy_(0, places, chosen).view(among.shape)


def smallest(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Where the `count` smallest are that `among` allows; of equal ones the first. NaN counts as −∞."""
    return largest(-value, among, count)


# On a CPU, numpy finds positions in a quarter and a value of a rank in a tenth of the time that torch takes.


def _positions(flags: Tensor) -> Tensor:
    """(k,) int64: where `flags` (n,) are set, in order."""
    if flags.device.type != "cpu":
        return flags.nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(flags.numpy()))


def _of_rank(values: Tensor, rank: int) -> Tensor:
    """The value (scalar) that `rank` - 1 others are at least as large as; values (n,) without NaN."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:
        return values.topk(rank, sorted=False).values.amin()
    place = len(values) - rank
    return torch.tensor(np.partition(values.numpy(), place)[place])
