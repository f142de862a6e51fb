"""Reads tables of a FlatBuffer by field number, never outside its bytes (the FlatBuffers internals page).

A file from outside may be damaged or hostile: every offset is checked, and what does not fit raises Unreadable.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Unopenable


class Unreadable(Unopenable):
    """The bytes are not what their schema says, or more than is read here; the message is the reason, for a report."""

    def __init__(self, reason: str) -> None:
        """One line, whatever names from the file are in it."""
        super().__init__("".join(sign if sign.isprintable() else "?" for sign in reason))


@dataclass(frozen=True)
class Table:
    """One table: `at` is its place in `data`. A field is asked for by its number in the schema, from 0."""

    data: bytes
    at: int

    def number(self, field: int, form: str, default: float = 0) -> Any:
        """form: a struct code such as "I"; absent fields have the schema's default."""
        place = self._place(field)
        return default if place is None else unpack(self.data, place, form)

    def table(self, field: int) -> "Table | None":
        place = self._place(field)
        return None if place is None else Table(self.data, self._follow(place))

    def need(self, field: int, what: str) -> "Table":
        """The table in `field`. Raises Unreadable naming `what` where it is absent."""
        found = self.table(field)
        if found is None:
            raise Unreadable(f"the file has no {what}")
        return found

    def union(self, field: int) -> "tuple[int, Table | None]":
        """(number of the member, its table); a union has two fields, the first of them is `field`."""
        return int(self.number(field, "B")), self.table(field + 1)

    def tables(self, field: int) -> "list[Table]":
        start, count = self._vector(field, 4)
        return [Table(self.data, self._follow(start + 4 * index)) for index in range(count)]

    def numbers(self, field: int, dtype: str) -> NDArray[Any]:
        """(n,) of a little-endian numpy type such as "<i4"; empty where the field is absent."""
        kind = np.dtype(dtype)
        start, count = self._vector(field, kind.itemsize)
        return np.frombuffer(self.data, kind, count, start)

    def content(self, field: int) -> bytes:
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def text(self, field: int) -> str:
        return self.content(field).decode("utf-8", errors="replace")

    def _place(self, field: int) -> int | None:
        layout = self.at - unpack(self.data, self.at, "i")
        if 4 + 2 * field >= unpack(self.data, layout, "H"):
            return None
        offset = unpack(self.data, layout + 4 + 2 * field, "H")
        return self.at + offset if offset else None

    def _follow(self, place: int) -> int:
        return place + int(unpack(self.data, place, "I"))

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """(place of the first element, their number)."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = self._follow(place)
        count = int(unpack(self.data, start, "I"))
        if start + 4 + count * width > len(self.data):
            raise Unreadable("the file is damaged: a list reaches past its end")
        return start + 4, count


def root(data: bytes, identifiers: tuple[bytes, ...], what: str) -> Table:
    """The root table of a buffer that carries one of the identifiers at byte 4."""
    if data[4:8] not in identifiers:
        raise Unreadable(f"{what} is not in a known format: it begins with {data[4:8]!r}")
    return Table(data, int(unpack(data, 0, "I")))


def unpack(data: bytes, place: int, form: str) -> Any:
    """One little-endian number at `place`. Raises Unreadable outside the bytes."""
    if place < 0 or place + struct.calcsize(form) > len(data):
        raise Unreadable("the file is damaged: a value lies outside it")
    return struct.unpack_from(f"<{form}", data, place)[0]
