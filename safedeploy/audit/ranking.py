"""True-positive rates at false-positive rates for many weightings of the same scored samples at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Weights = NDArray[np.uint8]

CELLS = 8_000_000  # sample · draw pairs held at a time: some tens of MB


@dataclass(frozen=True, eq=False)
class Ranking:
    """Samples from the highest score down. `first` (n,): the place at which the scores tied with each place begin."""

    order: Ints
    first: Ints


def rank(scores: Floats) -> Ranking:
    order = np.argsort(-scores, kind="stable")
    new = begins(scores[order])
    return Ranking(order, np.flatnonzero(new)[np.cumsum(new) - 1])


def begins(ordered: Floats) -> NDArray[np.bool_]:
    """Where each group of equal values begins; infinities are equal to themselves."""
    return np.concatenate([[True], ordered[1:] != ordered[:-1]])


def allowed_false_positives(fpr: float, nonmembers: int) -> int:
    return int(np.floor(fpr * nonmembers + 1e-9))


def true_positives(ranking: Ranking, members: Weights, nonmembers: Weights, allowed: Sequence[int]) -> Ints:
    """(len(allowed), B): the weight of members above the sample that takes non-members over each number in `allowed`.

    `members` and `nonmembers` (n, B): how often each sample counts, in B draws; a tie with that sample is not above it.
    """
    total, draws = members.shape
    if not allowed:
        return np.zeros((0, draws), dtype=np.int64)
    weight = int(nonmembers[:, 0].sum())
    # far enough down that the last one allowed is passed in every draw: enough where scores say nothing, else doubled
    most = max(allowed) + 1
    reach = min(total, int(np.ceil((most + 10 * np.sqrt(most) + 40) * total / weight)))
    while reach < total and nonmembers[ranking.order[:reach]].sum(axis=0, dtype=np.int64).min() < most:
        reach = min(total, 2 * reach)
    top = ranking.order[:reach]
    passed = np.cumsum(nonmembers[top], axis=0, dtype=np.int32)
    found = np.zeros((reach + 1, draws), dtype=np.int32)  # found[i]: members among the i highest
    np.cumsum(members[top], axis=0, dtype=np.int32, out=found[1:])
    start, columns = np.r_[ranking.first[:reach], reach], np.arange(draws)
    return np.stack([found[start[(passed <= count).sum(axis=0)], columns] for count in allowed]).astype(np.int64)


def chunks(total: int, draws: int) -> list[int]:
    """`draws` in parts, so that no part holds more than `CELLS` pairs of a sample and a draw."""
    size = max(1, min(draws, CELLS // max(total, 1)))
    return [min(size, draws - begun) for begun in range(0, draws, size)]
