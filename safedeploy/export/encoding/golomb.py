"""Golomb-Rice codes (Golomb 1966; Rice 1979) of the distances between non-zeros.

A distance d ≥ 1 is q·2^k + r + 1: q in unary, q zeros and a one, and r in k bits. With k = 0 the unary bits are the
bitmask of the tensor. Distances between non-zeros of a random mask are geometric, for which the best k is within a few
hundredths of a bit of the entropy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_K = 7


@dataclass(frozen=True, eq=False)
class Code:
    """unary: (⌈bits / 8⌉,) bytes, lowest bit first, padded with zeros. remainders: (n,), below 2^k."""

    k: int
    unary: NDArray[np.uint8]
    remainders: NDArray[np.int64]


def unary_bits(distances: NDArray[np.int64], k: int) -> int:
    return int(((distances - 1) >> k).sum()) + len(distances)


def bits(distances: NDArray[np.int64], k: int) -> int:
    """Bits of the code of (n,) distances ≥ 1."""
    return unary_bits(distances, k) + k * len(distances)


def best_k(distances: NDArray[np.int64]) -> int:
    return min(range(LARGEST_K + 1), key=lambda k: bits(distances, k))


def code(distances: NDArray[np.int64], k: int) -> Code:
    quotients = (distances - 1) >> k
    stream = np.zeros(unary_bits(distances, k), bool)
    stream[np.cumsum(quotients + 1) - 1] = True
    return Code(k, np.packbits(stream, bitorder="little"), (distances - 1) & (2**k - 1))


def distances(code: Code) -> NDArray[np.int64]:
    """What `code` was made of; the decoder in a file does the same with ONNX operators."""
    ones = np.flatnonzero(np.unpackbits(code.unary, bitorder="little"))[: len(code.remainders)]
    quotients = np.diff(ones, prepend=-1) - 1
    return (quotients << code.k) + code.remainders + 1
