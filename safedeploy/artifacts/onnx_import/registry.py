"""The operators that the importer knows: functions of torch tensors by the name that ONNX gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from torch import Tensor

Function = Callable[..., Tensor | tuple[Tensor, ...]]

OPERATORS: dict[str, Function] = {}


@dataclass(frozen=True)
class Node:
    """One node of a graph. `opset`: the version of its operator's domain. "" among inputs is one left out."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    def get(self, attribute: str, default: Any = None) -> Any:
        return self.attributes.get(attribute, default)


def operator(*names: str) -> Callable[[Function], Function]:
    """Registers a function (node, *inputs) -> output or outputs; an input left out is None or not passed."""

    def register(function: Function) -> Function:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def full_name(node: onnx.NodeProto) -> str:
    """The operator's name, with its domain where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def read_node(node: onnx.NodeProto, opset: int) -> Node:
    attributes = {one.name: _value(onnx.helper.get_attribute_value(one)) for one in node.attribute}
    return Node(full_name(node), node.name, tuple(node.input), tuple(node.output), attributes, opset)


def _value(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
