"""Where a tensor's non-zeros are, as the codes of `functions.py`: each codec's bytes, and its arrays.

A code stores the distances between entries; where a distance is longer than a codec can say, an entry of value zero
stands in between.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safedeploy.export.encoding import golomb
from safedeploy.export.encoding.bits import GROUP, fields_of, pack

Positions = NDArray[np.int64]

ARRAY_BYTES = 28  # of a stored array beside its numbers: name, type, sizes, and its mention in the node
NARROW = 255  # the longest distance that is counted in bytes
GAP_WIDTHS = (4, 8)


@dataclass(frozen=True)
class Codec:
    """A function of `functions.py`. size_bytes: of its arrays; work_bytes: what is held while it is decoded."""

    function: str
    entries: Positions
    size_bytes: int
    work_bytes: int
    arrays: Callable[[], list[NDArray[np.uint8]]]


def codecs(positions: Positions) -> Iterator[Codec]:
    """The codecs that suit `positions`, (n,) increasing, n ≥ 1."""
    for width in GAP_WIDTHS:
        yield codec(f"Gaps{width}", positions)
    for kind in ("GolombRice", "WideGolombRice"):
        best = golomb.best_k(np.diff(positions, prepend=-1))
        for k in range(max(0, best - 1), min(best + 2, golomb.LARGEST_K) + 1):
            yield codec(f"{kind}{k}", positions)


def codec(function: str, positions: Positions) -> Codec:
    """The codec of this name; it can say any positions, some of them at great length."""
    kind = function.rstrip("0123456789")
    width = int(function.removeprefix(kind))
    if kind == "Gaps":
        return _gaps(with_fillers(positions, 2**width - 1), width)
    wide = kind == "WideGolombRice"
    return _golomb_rice(positions if wide else with_fillers(positions, NARROW), width, wide)


def with_fillers(positions: Positions, longest: int) -> Positions:
    """`positions`, and as many more as it takes for no distance to be above `longest`."""
    distances = np.diff(positions, prepend=0)
    missing = np.maximum(0, (distances - 1) // longest)
    if not missing.any():
        return positions
    starts = np.repeat(positions - distances, missing)
    steps = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    return np.sort(np.concatenate([positions, starts + steps * longest]))


def _gaps(entries: Positions, width: int) -> Codec:
    distances = np.diff(entries, prepend=0)
    groups = -(-len(entries) // GROUP)
    return Codec(
        f"Gaps{width}",
        entries,
        groups * width + ARRAY_BYTES,
        len(entries) * (1 + 2 * (width < 8) + 9),
        lambda: list(pack(distances, width, groups).values()),
    )


def _coded(entries: Positions, wide: bool) -> Positions:
    """The distances as the decoder counts them: at least 1, the wide ones one more than they are.

    A first position of 0 counts as 256, which is 0 in a byte.
    """
    distances = np.diff(entries, prepend=0)
    if wide:
        return distances + 1
    distances[0] = distances[0] or NARROW + 1
    return distances


def _golomb_rice(entries: Positions, k: int, wide: bool) -> Codec:
    distances = _coded(entries, wide)
    # one more than there are entries: the unary code's padding bits belong to it
    groups = len(entries) // GROUP + 1
    unary = golomb.unary_bits(distances, k)
    fields = len(fields_of(k))
    number = 4 if wide else 1

    def arrays() -> list[NDArray[np.uint8]]:
        code = golomb.code(distances, k)
        return [code.unary.reshape(-1, 1), *pack(code.remainders, k, groups).values()]

    return Codec(
        f"{'Wide' * wide}GolombRice{k}",
        entries,
        -(-unary // 8) + groups * k + ARRAY_BYTES * (1 + fields),
        unary * (11 + number) + len(entries) * (4 * fields + 3 * number + 8),
        arrays,
    )
