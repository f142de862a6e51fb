"""DeLong, DeLong & Clarke-Pearson (1988): how AUCs of the same samples vary together; midranks of Sun & Xu (2014)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


def placements(members: Floats, nonmembers: Floats) -> tuple[Floats, Floats]:
    """(m,) the share of non-members below each member, and (n,) of members above each non-member; a tie is a half.

    The mean of either is the AUC. They are the structural components V10 and V01 of equations 4 and 5.
    """
    together = stats.rankdata(np.concatenate([members, nonmembers]))
    over_members = (together[: members.size] - stats.rankdata(members)) / nonmembers.size
    over_nonmembers = 1 - (together[members.size :] - stats.rankdata(nonmembers)) / members.size
    return over_members, over_nonmembers


def covariance(over_members: Sequence[ArrayLike], over_nonmembers: Sequence[ArrayLike]) -> Floats:
    """(A, A) covariance of A means over the same m members and n non-members: S10 / m + S01 / n (equation 6).

    `over_members`: A arrays (m,), `over_nonmembers`: A arrays (n,), with m and n at least 2.
    """
    sides = (np.stack([np.asarray(row) for row in side]) for side in (over_members, over_nonmembers))
    return np.asarray(sum(np.atleast_2d(np.cov(side)) / side.shape[1] for side in sides))
