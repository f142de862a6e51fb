"""An ONNX graph with fewer bytes that computes the same: short inner names, no defaults spelled out, nothing twice."""

from collections.abc import Callable, Sequence

import onnx
from onnx import numpy_helper

ONES = {"strides", "dilations"}  # 1 along each axis is their default, which no schema spells out


def compact(model: onnx.ModelProto, fresh: Callable[[], str]) -> None:
    """In place. fresh: gives names that are not used yet. Only inputs and outputs keep theirs."""
    graph = model.graph
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    shapes = _before_norms(graph)
    del graph.value_info[:]
    for node in graph.node:
        _drop_defaults(node, opset)
    _share(graph)
    kept = {value.name for value in (*graph.input, *graph.output)}
    short = _shorten(graph.node, kept, fresh)
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)
    for value in shapes:
        value.name = short.get(value.name, value.name)
    graph.value_info.extend(shapes)


def compact_function(function: onnx.FunctionProto) -> None:
    """In place: names of one letter, which no caller sees."""
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    short = _shorten(function.node, set(), lambda: next(letters))
    for values in (function.input, function.output):
        for place, name in enumerate(values):
            values[place] = short[name]


def _before_norms(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The shapes of what is added up before a layer norm: ONNX Runtime merges the two only where it is told them."""
    producers = {name: node for node in graph.node for name in node.output}
    sums = [producers.get(node.input[0]) for node in graph.node if node.op_type == "LayerNormalization"]
    added = {name for node in sums if node is not None and node.op_type == "Add" for name in node.input}
    return [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in graph.value_info if one.name in added]


def _shorten(nodes: Sequence[onnx.NodeProto], kept: set[str], fresh: Callable[[], str]) -> dict[str, str]:
    short: dict[str, str] = {}
    for node in nodes:
        node.ClearField("name")
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                if name and name not in kept:
                    if name not in short:
                        short[name] = fresh()
                    values[place] = short[name]
    return short


def _share(graph: onnx.GraphProto) -> None:
    """Equal constants are stored once; what no node reads is not stored."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    instead, kept = {}, []
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in graph.initializer:
        if tensor.name not in read:
            continue
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        if key in first:
            instead[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            raw = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
            kept.append(min(tensor, raw, key=lambda one: one.ByteSize()))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)


def _drop_defaults(node: onnx.NodeProto, opset: int) -> None:
    if node.domain not in ("", "ai.onnx"):
        return
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    kept = [attribute for attribute in node.attribute if not _is_default(attribute, schema)]
    del node.attribute[:]
    node.attribute.extend(kept)


def _is_default(attribute: onnx.AttributeProto, schema: onnx.defs.OpSchema) -> bool:
    if attribute.name in ONES and set(attribute.ints) == {1}:
        return True
    if attribute.name == "pads":
        return not any(attribute.ints)
    known = schema.attributes.get(attribute.name)
    default = None if known is None else known.default_value
    if default is None or default.type != attribute.type:
        return False
    return bool(onnx.helper.get_attribute_value(default) == onnx.helper.get_attribute_value(attribute))
