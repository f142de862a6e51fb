"""The largest or smallest values of a tensor, without sorting it."""

import numpy as np
import torch
from torch import Tensor


def largest(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Where (bool) the `count` largest values are that `among` (bool, same shape) allows; of equal ones the first.

    NaN counts as ∞, so that the count is exact even then; of a count beyond what `among` allows, all of it is chosen.
    """
    value = value.detach().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    allowed = value[among]
    if not 0 < count < len(allowed):
        return among.clone() if count > 0 else torch.zeros_like(among)
    last = _of_rank(allowed, count)
    chosen = among & (value > last)
    equal = (among & (value == last)).flatten().nonzero()[: count - int(chosen.count_nonzero())]
    return chosen.flatten().index_fill_(0, equal[:, 0], True).view(among.shape)


def smallest(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Where the `count` smallest are that `among` allows; of equal ones the first. NaN counts as −∞."""
    return largest(-value, among, count)


def _of_rank(values: Tensor, rank: int) -> Tensor:
    """The value (scalar) that `rank` - 1 others are at least as large as; values (n,) without NaN."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:
        return values.topk(rank, sorted=False).values.amin()
    place = len(values) - rank
    return torch.tensor(np.partition(values.numpy(), place)[place])  # a tenth of what torch's own selection takes here
