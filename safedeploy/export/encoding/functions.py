"""The decoders, as functions of an ONNX file: one body a codec, one call a tensor.

ONNX Runtime writes a function's body out at every call, then folds it. Nothing here has an output whose shape depends
on data (NonZero, Compress): folding would stop there, and every inference would decode. Positions are running sums of
distances; the first distance is the first position itself.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from safedeploy.artifacts.onnx_encoding import DOMAIN
from safedeploy.export.encoding.bits import SHIFTS, below, fields_of
from safedeploy.export.encoding.compact import compact_function

VERSION = 1
OLDEST_OPSET = 18  # the first with BitwiseAnd
BIT_OF_BYTE = 2 ** np.arange(8, dtype=np.uint8).reshape(1, 8)


def functions(called: Iterable[str], opset: int = OLDEST_OPSET) -> list[onnx.FunctionProto]:
    """The functions of these names and those they call, each once, in the operators of the file's `opset`."""
    made: dict[str, onnx.FunctionProto] = {}
    waiting = list(called)
    while waiting:
        name = waiting.pop()
        if name not in made:
            made[name] = _function(name)
            waiting += [node.op_type for node in made[name].node if node.domain == DOMAIN]
    for function in made.values():
        compact_function(function)
        function.opset_import.append(helper.make_opsetid("", opset))
    return [made[name] for name in sorted(made)]


def field_names(width: int) -> list[str]:
    return [f"f{field}" for field in fields_of(width)]


def _function(name: str) -> onnx.FunctionProto:
    if name == "Place":
        return _place()
    if name in ("Distances", "WideDistances"):
        return _distances(name)
    kind = name.rstrip("0123456789")
    return WITH_WIDTH[kind](name, int(name.removeprefix(kind)))


def _bits(name: str, width: int) -> onnx.FunctionProto:
    """Numbers of `width` bits out of their fields: (8 · groups,) uint8."""
    nodes, parts = [], []
    for field in fields_of(width):
        part = f"f{field}"
        if field < 8:
            nodes += [
                _constant(f"s{field}", SHIFTS[field]),
                _constant(f"m{field}", np.uint8(2**field - 1)),
                _node("BitShift", [part, f"s{field}"], f"a{field}", direction="RIGHT"),
                _node("BitwiseAnd", [f"a{field}", f"m{field}"], f"b{field}"),
            ]
            part = f"b{field}"
        if lower := below(width, field):
            nodes += [
                _constant(f"t{field}", np.uint8(lower)),
                _node("BitShift", [part, f"t{field}"], f"c{field}", direction="LEFT"),
            ]
            part = f"c{field}"
        parts.append(part)
    whole = parts[0]
    for number, part in enumerate(parts[1:]):
        nodes.append(_node("BitwiseOr", [whole, part], f"o{number}"))
        whole = f"o{number}"
    nodes += [_constant("flat", np.array([-1])), _node("Reshape", [whole, "flat"], "out")]
    return _made(name, field_names(width), nodes)


def _distances(name: str) -> onnx.FunctionProto:
    """Distances from unary bits (bytes, 1) uint8 and remainders (more than there are distances,) uint8.

    Every zero bit adds 2^k to the distance whose one comes next, and the one adds 1. WideDistances counts in int32 what
    does not fit into a byte, and its ones add nothing, so that a first position of 0 has a code.
    """
    wide = name.startswith("Wide")
    kind = TensorProto.INT32 if wide else TensorProto.UINT8
    nodes = [
        _constant("m", BIT_OF_BYTE),
        _constant("flat", np.array([-1])),
        _constant("axis", np.array(0)),
        _constant("one", np.int32(0) if wide else np.uint8(1)),
        _node("BitwiseAnd", ["unary", "m"], "a"),
        _node("Cast", ["a"], "b", to=TensorProto.BOOL),
        _node("Reshape", ["b", "flat"], "ones"),
        _node("Cast", ["ones"], "c", to=TensorProto.INT32),
        _node("CumSum", ["c", "axis"], "owner", exclusive=1),
        _node("Cast", ["step"], "d", to=kind),
        _node("Where", ["ones", "one", "d"], "added"),
        _node("Cast", ["remainders"], "e", to=kind),
        _node("ScatterElements", ["e", "owner", "added"], "out", axis=0, reduction="add"),
    ]
    return _made(name, ["unary", "remainders", "step"], nodes)


def _place() -> onnx.FunctionProto:
    """`values` (n,) at the running sums of the first n `distances`, in `zeros`, as `shape`."""
    nodes = [
        _constant("axis", np.array(0)),
        _constant("start", np.array([0])),
        _node("Shape", ["values"], "end"),
        _node("Slice", ["distances", "start", "end"], "a"),
        _node("Cast", ["a"], "b", to=TensorProto.INT32),
        _node("CumSum", ["b", "axis"], "positions"),
        _node("ScatterElements", ["zeros", "positions", "values"], "c", axis=0),
        _node("Reshape", ["c", "shape"], "out"),
    ]
    return _made("Place", ["distances", "values", "zeros", "shape"], nodes)


def _golomb_rice(name: str, k: int) -> onnx.FunctionProto:
    distances = "WideDistances" if name.startswith("Wide") else "Distances"
    nodes = [_constant("step", np.uint8(2**k))]
    if k:
        nodes.append(_call(f"Bits{k}", field_names(k), "remainders"))
    else:
        nodes += [
            _constant("one", np.array([1])),
            _node("Shape", ["values"], "n"),
            _node("Add", ["n", "one"], "length"),
            _node("ConstantOfShape", ["length"], "remainders", value=numpy_helper.from_array(np.zeros(1, np.uint8))),
        ]
    nodes += [
        _call(distances, ["unary", "remainders", "step"], "distances"),
        _call("Place", ["distances", "values", "zeros", "shape"], "out"),
    ]
    return _made(name, ["unary", *field_names(k), "values", "zeros", "shape"], nodes)


def _gaps(name: str, width: int) -> onnx.FunctionProto:
    nodes = [
        _call(f"Bits{width}", field_names(width), "distances"),
        _call("Place", ["distances", "values", "zeros", "shape"], "out"),
    ]
    return _made(name, [*field_names(width), "values", "zeros", "shape"], nodes)


def _palette(name: str, width: int) -> onnx.FunctionProto:
    """The first `count` numbers of `width` bits, each as its entry of `book`."""
    nodes = [
        _constant("start", np.array([0])),
        _call(f"Bits{width}", field_names(width), "a"),
        _node("Slice", ["a", "start", "count"], "b"),
        _node("Cast", ["b"], "c", to=TensorProto.INT32),
        _node("Gather", ["book", "c"], "out", axis=0),
    ]
    return _made(name, [*field_names(width), "count", "book"], nodes)


def _node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], **attributes)


def _call(function: str, inputs: Sequence[str], output: str) -> onnx.NodeProto:
    return helper.make_node(function, inputs, [output], domain=DOMAIN)


def _constant(name: str, value: NDArray[np.generic] | np.generic) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))


def _made(name: str, inputs: Sequence[str], nodes: Sequence[onnx.NodeProto]) -> onnx.FunctionProto:
    inner = any(node.domain == DOMAIN for node in nodes)
    imports = [helper.make_opsetid(DOMAIN, VERSION)] if inner else []
    return helper.make_function(DOMAIN, name, inputs, ["out"], nodes, imports)


WITH_WIDTH = {
    "Bits": _bits,
    "Gaps": _gaps,
    "GolombRice": _golomb_rice,
    "WideGolombRice": _golomb_rice,
    "Palette": _palette,
}
