"""How a tensor's numbers are stored, without loss: as they are, as float16, or as places in a book of a few."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safedeploy.export.encoding.bits import GROUP, pack
from safedeploy.export.encoding.positions import ARRAY_BYTES

Numbers = NDArray[np.generic]

LARGEST_BOOK = 256


@dataclass(frozen=True, eq=False)
class Stored:
    """kind: 'raw', 'float16', or 'palette' of `width` bits with its `book`. bits: of one number."""

    kind: str
    numbers: Numbers
    size_bytes: int
    bits: int
    book: Numbers | None = None

    def fields(self) -> list[NDArray[np.uint8]]:
        """A palette's places, packed."""
        assert self.book is not None
        places = np.searchsorted(self.book, self.numbers)
        return list(pack(places, self.bits, -(-len(places) // GROUP)).values())


def forms(numbers: Numbers) -> Iterator[Stored]:
    """Every form that gives back (n,) `numbers` bit for bit."""
    bits = numbers.dtype.itemsize * 8
    yield Stored("raw", numbers, numbers.nbytes, bits)
    if not np.isfinite(numbers).all():
        return
    if numbers.dtype == np.float32:
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16)
        if np.array_equal(half.astype(np.float32), numbers):
            yield Stored("float16", half, half.nbytes + ARRAY_BYTES, 16)
    book = np.unique(numbers)
    if 1 < len(book) <= LARGEST_BOOK and bits > 1:
        width = int(len(book) - 1).bit_length()
        if width < bits:
            size = -(-len(numbers) // GROUP) * width + book.nbytes + 4 * ARRAY_BYTES
            yield Stored("palette", numbers, size, width, book)


def smallest(numbers: Numbers) -> Stored:
    return min(forms(numbers), key=lambda form: form.size_bytes)
