"""Weights that an ONNX file stores as codes: what they decode to, what they take, and whether they are decoded once.

A code is a calculation on constants alone, by functions of the file in the domain `safedeploy` or by the operators they
consist of. Decoding is left to ONNX Runtime, so that what is read here is what runs.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from safedeploy.artifacts.onnx_session import open_session, optimised

DOMAIN = "safedeploy"
DECODING = {"CumSum", "ScatterElements"}
KEPT = {"DequantizeLinear", "QuantizeLinear"}  # not folded by a runtime either, which fuses them with their neighbours


@dataclass(frozen=True, eq=False)
class Coded:
    """A weight that is rebuilt while loading. `codec`: the functions that do it.

    size_bytes: of the constants it is rebuilt from; those of several weights are shared out by their numbers of
    non-zeros. number_bits: of one stored number.
    """

    name: str
    codec: str
    value: NDArray[Any]
    size_bytes: int
    number_bits: int


def calls_codes(model: onnx.ModelProto) -> bool:
    """Whether the file has codes at all, whether or not a runtime can decode them once."""
    return any(node.domain == DOMAIN for node in model.graph.node)


def is_encoded(model: onnx.ModelProto) -> bool:
    """Whether weights of the file are calculations on constants alone."""
    return any(node.domain == DOMAIN or node.op_type in DECODING for node in _constant_nodes(model.graph))


def decoded(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """`model` with the weights its codes stand for as plain constants; itself where it has no codes.

    `path` is what an error names. Raises UserError where the runtime cannot decode them.
    """
    if not is_encoded(model):
        return model
    constant = _constant_nodes(model.graph)
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    inside = {id(node) for node in constant}
    kept = [one for one, node in zip(plain.graph.node, model.graph.node, strict=True) if id(node) not in inside]
    read = {name for node in kept for name in node.input} | {value.name for value in plain.graph.output}
    stored = [tensor for tensor in plain.graph.initializer if tensor.name in read]
    stored += [numpy_helper.from_array(value, name) for name, value in _values(model, constant, path).items()]
    graph = onnx.helper.make_graph(kept, plain.graph.name, plain.graph.input, plain.graph.output, stored)
    plain.graph.CopyFrom(graph)
    left = [function for function in plain.functions if function.domain != DOMAIN]
    del plain.functions[:]
    plain.functions.extend(left)
    return plain


def coded(model: onnx.ModelProto, path: Path) -> list[Coded]:
    """The weights of `model` that are codes, in the order of their nodes. Raises as `decoded` does."""
    if not is_encoded(model):
        return []
    constant = _constant_nodes(model.graph)
    makers = {name: node for node in constant for name in node.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values = _values(model, constant, path)
    users: dict[str, list[str]] = defaultdict(list)
    behind = {name: list(_behind(name, makers)) for name in values}
    for name, nodes in behind.items():
        for source in {one for node in nodes for one in node.input if one in stored}:
            users[source].append(name)
    nonzero = {name: int((value != 0).sum()) + 1 for name, value in values.items()}
    return [
        Coded(
            name,
            " ".join(dict.fromkeys(node.op_type for node in nodes if node.domain == DOMAIN)) or nodes[0].op_type,
            values[name],
            round(
                sum(
                    stored[source].nbytes * nonzero[name] / sum(nonzero[one] for one in with_it)
                    for source, with_it in users.items()
                    if name in with_it
                )
            ),
            _number_bits(nodes, stored, makers, values[name]),
        )
        for name, nodes in behind.items()
    ]


def decodes_at_every_inference(model: onnx.ModelProto, path: Path) -> bool:
    """Whether the graph that ONNX Runtime here makes of `model`, the file `path`, holds more decoders than it names."""
    with tempfile.TemporaryDirectory() as folder:
        runs = optimised(path, Path(folder) / "optimised.onnx")
    own = {id(node) for node in model.graph.node} - {id(node) for node in _constant_nodes(model.graph)}
    named = sum(node.op_type in DECODING for node in model.graph.node if id(node) in own)
    return sum(node.op_type in DECODING for node in runs.graph.node) > named


def _constant_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that depend on no input, in order."""
    known = {tensor.name for tensor in graph.initializer} - {value.name for value in graph.input}
    found = []
    for node in graph.node:
        if node.op_type not in KEPT and all(name in known for name in node.input if name):
            known.update(node.output)
            found.append(node)
    return found


def _values(model: onnx.ModelProto, constant: list[onnx.NodeProto], path: Path) -> dict[str, NDArray[Any]]:
    """What the constant nodes hand to the others, computed by the runtime."""
    inside = {id(node) for node in constant}
    read = {name for node in model.graph.node if id(node) not in inside for name in node.input}
    read |= {value.name for value in model.graph.output}
    wanted = [name for node in constant for name in node.output if name in read]
    used = {name for node in constant for name in node.input}
    graph = onnx.helper.make_graph(
        constant,
        "weights",
        [],
        [onnx.helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    alone = onnx.helper.make_model(
        graph, functions=model.functions, opset_imports=model.opset_import, ir_version=model.ir_version
    )
    session = open_session(alone.SerializeToString(), path, 1)
    return dict(zip(wanted, session.run(wanted, {}), strict=True))


def _behind(name: str, makers: dict[str, onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    """The nodes that make `name`, the last first."""
    waiting, seen = [name], set()
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += node.input


def _number_bits(
    nodes: list[onnx.NodeProto],
    stored: dict[str, NDArray[Any]],
    makers: dict[str, onnx.NodeProto],
    value: NDArray[Any],
) -> int:
    for node in nodes:
        if node.domain == DOMAIN and node.op_type.startswith("Palette"):
            return int(node.op_type.removeprefix("Palette"))
    for node in nodes:
        if node.domain == DOMAIN:
            numbers = node.input[-3]  # before the zeros and the shape
            source = numbers if numbers in stored else makers[numbers].input[0]
            return stored[source].dtype.itemsize * 8
    return value.dtype.itemsize * 8
