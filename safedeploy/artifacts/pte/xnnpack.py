"""XNNPACK's graph in a delegate's payload: nodes, values and constants (schema.fbs of ExecuTorch's XNNPACK backend)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.pte.flatbuffer import Table, Unreadable, root, unpack
from safedeploy.artifacts.pte.program import LARGEST, array

BACKEND = "XnnpackBackend"
IDENTIFIERS = (b"XN00", b"XN01")
HEADER = b"XH00"
NONE = 2**32 - 1  # XNN_INVALID_VALUE_ID
NOT_HERE = 2**64 - 1
DTYPES = {1: "<f4", 3: "i1", 5: "<i4", 6: "i1", 7: "<i4"}  # fp32, qint8, qint32, qcint8, qcint32
_DATATYPES = """
invalid fp32 fp16 qint8 quint8 qint32 qcint8 qcint32 qcint4 qdint8 qbint4 qpint8 int32 pfp32 bf16
"""
DATATYPES = tuple(_DATATYPES.split())

# A node's fields in the order of the schema: name is an unsigned integer, ~name a float, name* a list.
_ONE, _TWO = "input output flags", "input1 input2 output flags"
_CAT = "axis input1 input2 input3 input4 output flags input5"
_PADDING = "padding_top padding_right padding_bottom padding_left"
_POOL = f"{_PADDING} kernel_height kernel_width stride_height stride_width dilation_height dilation_width {_ONE}"
_CONV = (
    f"{_PADDING} kernel_height kernel_width stride_height stride_width dilation_height dilation_width"
    " group_inputs group_outputs groups adjustment_height adjustment_width input filter bias output flags"
)
# The members of the union XNodeUnion, in its order, from 1.
NODES = (
    ("Add", _TWO),
    ("FullyConnected", "input filter bias output flags"),
    ("Softmax", _ONE),
    ("Sigmoid", _ONE),
    ("StaticTranspose", f"num_dims perm* {_ONE}"),
    ("Clamp", _ONE),
    ("Conv2d", _CONV),
    ("Div", _TWO),
    ("StaticResizeBilinear2D", f"height width {_ONE}"),
    ("StaticConstantPad", f"before* after* ~padding {_ONE}"),
    ("AvgPooling2d", _POOL),
    ("Minimum", _TWO),
    ("DepthwiseConv2d", _CONV),
    ("MaxPooling2d", _POOL),
    ("Multiply", _TWO),
    ("Subtract", _TWO),
    ("Floor", _ONE),
    ("Convert", _ONE),
    ("GlobalAvgPooling2d", _ONE),
    ("StaticReshape", f"num_dims shape* {_ONE}"),
    ("ArgMaxPooling2d", f"{_PADDING} kernel_height kernel_width input output index flags"),
    ("SquareRoot", _ONE),
    ("Ceiling", _ONE),
    ("Hardswish", _ONE),
    ("LeakyReLU", f"~slope {_ONE}"),
    ("Maximum", _TWO),
    ("Negate", _ONE),
    ("Square", _ONE),
    ("ELU", f"~alpha {_ONE}"),
    ("Abs", _ONE),
    ("PReLU", _TWO),
    ("Concatenate2", _CAT),
    ("Concatenate3", _CAT),
    ("Concatenate4", _CAT),
    ("StaticSlice", f"num_dims offsets* sizes* {_ONE}"),
    ("ScaledDotProductAttention", "query key value scale mask output flags"),
    ("BatchMatrixMultiply", _TWO),
    ("Concatenate5", _CAT),
    ("ConvTranspose2d", _CONV),
    ("ReciprocalSquareRoot", _ONE),
    ("Log", _ONE),
    ("Gelu", _ONE),
    ("Tanh", _ONE),
    ("Exp", _ONE),
    ("Sin", _ONE),
    ("Copy", _ONE),
    ("Cos", _ONE),
)


@dataclass(frozen=True, eq=False)
class Scales:
    """real = scale · (integer - zero_point); `scale` is (1,), or (channels,) along `axis`."""

    scale: NDArray[np.float32]
    zero_point: int = 0
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph. external: its place among the delegate call's arguments, None inside the graph."""

    shape: tuple[int, ...]
    datatype: str
    constant: NDArray[Any] | None
    scales: Scales | None
    external: int | None


@dataclass(frozen=True)
class Node:
    """`fields`: what the schema gives this kind of node. low, high: the bounds of its output, fused into it."""

    kind: str
    fields: dict[str, Any]
    low: float
    high: float

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]


@dataclass(frozen=True, eq=False)
class Graph:
    nodes: tuple[Node, ...]
    values: dict[int, Value]
    outputs: tuple[int, ...]


def read_graph(payload: bytes, named: dict[str, bytes]) -> Graph:
    """The graph in a payload; constants come out of it or, by their key, out of the program's `named` data.

    Raises Unreadable where the bytes do not follow the schema or a number type is not known.
    """
    table, data = _parts(payload)
    constants = [_content(one, data, named) for one in table.tables(8)]
    values = dict(_value(one, constants) for one in table.tables(2))
    return Graph(
        nodes=tuple(_node(one) for one in table.tables(1)),
        values=values,
        outputs=tuple(int(one) for one in table.numbers(5, "<u4")),
    )


def _parts(payload: bytes) -> tuple[Table, bytes]:
    """(the graph's table, the constant data behind it)."""
    if payload[4:8] != HEADER:
        return root(payload, IDENTIFIERS, "XNNPACK's graph"), b""
    start, size, data = (int(unpack(payload, place, "I")) for place in (10, 14, 18))
    data_size = int(unpack(payload, 22, "Q"))
    if max(start + size, data + data_size) > len(payload):
        raise Unreadable("XNNPACK's graph is cut off")
    return root(payload[start : start + size], IDENTIFIERS, "XNNPACK's graph"), payload[data : data + data_size]


def _content(place: Table, data: bytes, named: dict[str, bytes]) -> bytes | None:
    """None for the first entry, which stands for 'not constant'. Raises Unreadable where the data is elsewhere."""
    offset, size, key = int(place.number(0, "Q")), int(place.number(1, "Q")), place.text(2)
    if key:
        if key not in named:
            raise Unreadable("weights are kept outside the file")
        return named[key]
    if offset == NOT_HERE:
        return None
    if offset + size > len(data):
        raise Unreadable("the file is damaged: a constant reaches past the end of XNNPACK's data")
    return data[offset : offset + size]


def _value(value: Table, constants: list[bytes | None]) -> tuple[int, Value]:
    member, content = value.union(0)
    if content is None or member not in (1, 2):
        raise Unreadable(f"XNNPACK's graph holds a value of an unknown kind ({member})")
    tensor = content if member == 1 else content.need(0, "tensor in a quantised value")
    kind = int(tensor.number(0, "h"))
    datatype = DATATYPES[kind] if 0 <= kind < len(DATATYPES) else str(kind)
    shape = tuple(int(size) for size in tensor.numbers(2, "<u4"))
    if math.prod(shape) > LARGEST:
        raise Unreadable(f"the file is damaged: XNNPACK's graph holds a tensor of sizes {shape}")
    index = int(tensor.number(3, "I"))
    constant = None
    if index:
        if kind not in DTYPES:
            raise Unreadable(f"XNNPACK's graph stores {datatype} numbers, which are not read here")
        constant = array(_stored(constants, index), DTYPES[kind], shape)
    flags, external = int(tensor.number(5, "I")), int(tensor.number(4, "I"))
    scales = None if member == 1 else _scales(content, constants)
    return int(tensor.number(6, "I")), Value(shape, datatype, constant, scales, external if flags & 3 else None)


def _stored(constants: list[bytes | None], index: int) -> bytes:
    found = constants[index] if index < len(constants) else None
    if found is None:
        raise Unreadable(f"the file is damaged: XNNPACK's graph names constant {index} of {len(constants)}")
    return found


def _scales(value: Table, constants: list[bytes | None]) -> Scales:
    member, content = value.union(1)
    if member == 1 and content is not None:
        scale = content.numbers(0, "<f4")
        if not len(scale):
            count = int(content.number(3, "I"))
            scale = array(_stored(constants, int(content.number(2, "I"))), "<f4", (count,))
        return Scales(scale, axis=int(content.number(1, "i")))
    if member == 2 and content is not None:
        return Scales(np.array([content.number(0, "f")], dtype=np.float32), int(content.number(1, "i")))
    how = {3: "quantises its activations anew for every input", 4: "quantises its weights in groups"}
    raise Unreadable(f"XNNPACK's graph {how.get(member, 'quantises in an unknown way')}, which is not read here")


def _node(node: Table) -> Node:
    member, content = node.union(0)
    if content is None or not 1 <= member <= len(NODES):
        raise Unreadable(f"XNNPACK's graph holds a node of an unknown kind ({member})")
    kind, layout = NODES[member - 1]
    fields = {name.strip("~*"): _field(content, number, name) for number, name in enumerate(layout.split())}
    bounds = node.table(3)
    low, high = (-math.inf, math.inf) if bounds is None else (bounds.number(0, "f"), bounds.number(1, "f"))
    return Node(kind, fields, low, high)


def _field(content: Table, number: int, name: str) -> Any:
    if name.endswith("*"):
        return tuple(int(item) for item in content.numbers(number, "<u4"))
    return content.number(number, "f" if name.startswith("~") else "I")
