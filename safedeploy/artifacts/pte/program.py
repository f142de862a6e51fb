"""The program in a .pte file: its one method's values, instructions, constants and delegates' payloads.

The fields are those of ExecuTorch's schema/program.fbs; the header before the segments is its extended_header.h.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.pte.flatbuffer import Table, Unreadable, root, unpack

IDENTIFIERS = (b"ET12",)
HEADER = b"eh00"
DTYPES = {0: "u1", 1: "i1", 2: "<i2", 3: "<i4", 4: "<i8", 5: "<f2", 6: "<f4", 7: "<f8", 11: "?"}  # scalar_type.fbs
KERNEL, DELEGATE = 1, 2  # members of the union InstructionArguments
LARGEST = 2**28  # elements of one tensor; a damaged size must not ask for all memory
MOST_AXES = 64  # of one constant: numpy has no more


@dataclass(frozen=True, eq=False)
class TensorValue:
    """A tensor of the program: `constant` in logical order where the file holds its values, else None.

    place: (memory, offset) that the tensor is planned at. A reshape is no instruction but a second tensor at one place.
    """

    shape: tuple[int, ...]
    dim_order: tuple[int, ...]
    constant: NDArray[Any] | None
    place: tuple[int, int] | None


@dataclass(frozen=True)
class TensorList:
    """Numbers of the program's values; -1 is None."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A kernel by its name (aten::relu.out) or a delegate by its number, on values by their numbers."""

    kernel: str
    delegate: int
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Delegate:
    backend: str
    payload: bytes


@dataclass(frozen=True, eq=False)
class Program:
    """values: None, int, bool, float, str, tuple of numbers, TensorList or TensorValue. named: data by its key."""

    values: tuple[Any, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    delegates: tuple[Delegate, ...]
    named: dict[str, bytes]


def read_program(data: bytes) -> Program:
    """The method `forward` of a .pte file. Raises Unreadable where the bytes do not follow the schema."""
    program = root(data, IDENTIFIERS, "the program")
    plans = [plan for plan in program.tables(1) if plan.text(0) == "forward"]
    if not plans:
        raise Unreadable("the program has no method 'forward'")
    segments = _segments(data, program)
    plan = plans[0]
    constants = _constants(program, segments)
    values = tuple(_value(value, constants) for value in plan.tables(2))
    return Program(
        values=tuple(_resolved(value, values) for value in values),
        inputs=_indices(plan, 3, len(values)),
        outputs=_indices(plan, 4, len(values)),
        calls=_calls(plan, len(values)),
        delegates=tuple(_delegate(one, program, segments) for one in plan.tables(7)),
        named={one.text(0): _item(segments, one.number(1, "I"), "segment") for one in program.tables(7)},
    )


@dataclass(frozen=True)
class _IntegerList:
    """Numbers of values that hold the integers of a list."""

    values: tuple[int, ...]


def _segments(data: bytes, program: Table) -> list[bytes]:
    declared = program.tables(4)
    if not declared:
        return []
    if data[8:12] != HEADER:
        raise Unreadable("the program has segments but no header that says where they begin")
    base = int(unpack(data, 24, "Q"))
    places = [(base + int(one.number(0, "Q")), int(one.number(1, "Q"))) for one in declared]
    if any(start + size > len(data) for start, size in places):
        raise Unreadable("the file is cut off: a segment reaches past its end")
    return [data[start : start + size] for start, size in places]


def _constants(program: Table, segments: list[bytes]) -> list[bytes]:
    """Every constant buffer from its first byte on; how many bytes it has is for its tensor to say."""
    place = program.table(5)
    if place is None or not len(place.numbers(1, "<u8")):
        return [buffer.content(0) for buffer in program.tables(2)]
    offsets = [int(offset) for offset in place.numbers(1, "<u8")]
    segment = segments[place.number(0, "I")] if place.number(0, "I") < len(segments) else b""
    return [segment[start:stop] for start, stop in zip(offsets, [*offsets[1:], len(segment)], strict=True)]


def _value(value: Table, constants: list[bytes]) -> Any:
    member, content = value.union(0)
    if content is None or member == 1:
        return None
    numbers = {2: "q", 3: "?", 4: "d"}
    if member in numbers:
        return content.number(0, numbers[member])
    if member == 5:
        return _tensor(content, constants)
    if member == 6:
        return content.text(0)
    if member == 7:
        return _IntegerList(tuple(int(item) for item in content.numbers(0, "<i8")))
    if member in (8, 9):
        return tuple(content.numbers(0, "<f8" if member == 8 else "?").tolist())
    if member in (10, 11):
        return TensorList(tuple(int(item) for item in content.numbers(0, "<i4")))
    raise Unreadable(f"the program holds a value of an unknown kind ({member})")


def _tensor(tensor: Table, constants: list[bytes]) -> TensorValue:
    shape = tuple(int(size) for size in tensor.numbers(2, "<i4"))
    order = tuple(int(axis) for axis in tensor.numbers(3, "u1"))
    if sorted(order) != list(range(len(shape))) or any(size < 0 for size in shape) or math.prod(shape) > LARGEST:
        raise Unreadable(f"the file is damaged: a tensor of sizes {shape} in the order {order}")
    index, planned = int(tensor.number(5, "I")), tensor.table(6)
    if index and planned:
        raise Unreadable("the program keeps values from one call to the next")
    if planned:
        offset = int(planned.number(1, "I")) + (int(planned.number(2, "I")) << 32)
        return TensorValue(shape, order, None, (int(planned.number(0, "I")), offset))
    if not index:
        return TensorValue(shape, order, None, None)
    kind = DTYPES.get(int(tensor.number(0, "b")))
    if kind is None:
        raise Unreadable(f"the program stores numbers of an unknown type ({tensor.number(0, 'b')})")
    stored = array(_item(constants, index, "constant"), kind, tuple(shape[axis] for axis in order))
    return TensorValue(shape, order, stored.transpose(np.argsort(order)) if shape else stored, None)


def array(content: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The first elements of `content` in `shape`. Raises Unreadable where there are too few, or too many axes."""
    if len(shape) > MOST_AXES:
        raise Unreadable(f"the file is damaged: a constant of {len(shape)} axes")
    count = math.prod(shape)
    if count > LARGEST or count * np.dtype(dtype).itemsize > len(content):
        raise Unreadable(f"the file is damaged: {len(content)} bytes for a constant of shape {shape}")
    return np.frombuffer(content, np.dtype(dtype), count).reshape(shape)


def _resolved(value: Any, values: tuple[Any, ...]) -> Any:
    if not isinstance(value, _IntegerList):
        return value
    return tuple(_item(values, item, "value") for item in value.values)


def _indices(plan: Table, field: int, count: int) -> tuple[int, ...]:
    indices = tuple(int(index) for index in plan.numbers(field, "<i4"))
    if any(not 0 <= index < count for index in indices):
        raise Unreadable("the file is damaged: it names a value that it does not have")
    return indices


def _calls(plan: Table, count: int) -> tuple[Call, ...]:
    """The instructions of the one chain; a program with branches or moves is not read."""
    chains, operators = plan.tables(5), plan.tables(6)
    if len(chains) != 1:
        raise Unreadable(f"the program has {len(chains)} chains of instructions, not one")
    calls = []
    for instruction in chains[0].tables(2):
        kind, content = instruction.union(0)
        if content is None or kind not in (KERNEL, DELEGATE):
            raise Unreadable("the program branches or moves values")
        target = int(content.number(0, "i"))
        name = ""
        if kind == KERNEL:
            operator = _item(operators, target, "operator")
            name = ".".join(part for part in (operator.text(0), operator.text(1)) if part)
        calls.append(Call(name, target if kind == DELEGATE else -1, _indices(content, 1, count)))
    return tuple(calls)


def _delegate(delegate: Table, program: Table, segments: list[bytes]) -> Delegate:
    place = delegate.need(1, "place of a delegate's payload")
    index = int(place.number(1, "I"))
    if place.number(0, "b") == 1:
        return Delegate(delegate.text(0), _item(segments, index, "segment"))
    return Delegate(delegate.text(0), _item(program.tables(3), index, "payload").content(0))


def _item(items: Any, index: int, what: str) -> Any:
    if not 0 <= index < len(items):
        raise Unreadable(f"the file is damaged: it names {what} {index} of {len(items)}")
    return items[index]
