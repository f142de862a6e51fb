"""Small unsigned numbers packed into bytes, in the order in which a few element-wise operators unpack them.

A number of w bits is stored as those fields of 8, 4, 2 and 1 bits whose sizes add up to w, the largest its high bits.
m groups of eight numbers are seen as (2, 4, m). A field's bytes are spread over that shape by broadcasting alone:
8 bits as (2, 4, m), 4 bits as (1, 4, m), 2 bits as (2, 1, m), 1 bit as (1, 1, m).
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

FIELDS = (8, 4, 2, 1)
GROUP = 8
# by field: how far each of the (2, 4) numbers lies above a byte's lowest bit
SHIFTS: dict[int, Bytes] = {
    8: np.zeros((1, 1, 1), np.uint8),
    4: np.array([0, 4], np.uint8).reshape(2, 1, 1),
    2: np.array([0, 2, 4, 6], np.uint8).reshape(1, 4, 1),
    1: np.arange(8, dtype=np.uint8).reshape(2, 4, 1),
}


def fields_of(width: int) -> tuple[int, ...]:
    """The fields, largest first, whose sizes add up to `width` bits (0 to 15)."""
    return tuple(field for field in FIELDS if width & field)


def below(width: int, field: int) -> int:
    """Bits of a number of `width` bits that lie below its `field`."""
    return sum(other for other in fields_of(width) if other < field)


def pack(numbers: NDArray[np.integer], width: int, groups: int) -> dict[int, Bytes]:
    """(n,) numbers below 2^width, n at most 8 · groups, by field; what is missing is zero."""
    padded = np.zeros(GROUP * groups, np.int64)
    padded[: len(numbers)] = numbers
    spread = padded.reshape(2, 4, groups)
    packed = {}
    for field in fields_of(width):
        part = (spread >> below(width, field)) & (2**field - 1)
        axes = tuple(axis for axis in (0, 1) if SHIFTS[field].shape[axis] > 1)
        packed[field] = (part << SHIFTS[field]).sum(axis=axes, keepdims=True).astype(np.uint8)
    return packed


def unpack(packed: dict[int, Bytes], width: int) -> NDArray[np.int64]:
    """(8 · groups,): what `pack` was given; the decoder in a file does the same with ONNX operators."""
    total = sum(
        ((packed[field] >> SHIFTS[field]).astype(np.int64) & (2**field - 1)) << below(width, field)
        for field in fields_of(width)
    )
    return np.asarray(total, np.int64).reshape(-1)
