"""An ONNX graph as a torch module: nodes in order, weights as parameters of submodules, everything differentiable."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx
import onnx.inliner
import torch
from onnx import TensorProto
from torch import Tensor, nn

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.layers import Layer, make_layer, matmul_layer
from safedeploy.artifacts.onnx_import.registry import OPERATORS, Node, full_name, read_node
from safedeploy.artifacts.onnx_import.shapes import sparse
from safedeploy.artifacts.onnx_import.tensors import from_proto

DOMAIN_OF_ONNX = ("", "ai.onnx")
QUANTISERS = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7}  # where the zero point is among the inputs


@dataclass(frozen=True, eq=False)
class Step:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Callable[..., Tensor | tuple[Tensor, ...]]
    done: tuple[str, ...] = ()  # values that no later step needs


class Graph(nn.Module):
    """`layers`: the modules with weights by the name of their weight in the file, in the order of the graph.

    Half precision is computed in float32. Quantised tensors are floats of whole value with a straight-through gradient.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Raises Unopenable where an operator or an element type is not known."""
        super().__init__()
        model = expanded(model)
        graph = model.graph
        self.outputs = tuple(one.name for one in graph.output)
        stored = {one.name: one for one in graph.initializer}
        self.input_names = tuple(one.name for one in graph.input if one.name not in stored)
        self.layers: dict[str, nn.Module] = {}
        self._constants = {name: from_proto(proto) for name, proto in stored.items()}
        self._constants.update({one.values.name: sparse(one) for one in graph.sparse_initializer})
        self._origin = {name: name for name in self._constants}
        nodes = self._fold(_nodes(model))
        self._steps = self._last_uses(self._build(nodes))
        used = {name for step in self._steps for name in step.inputs} | set(self.outputs)
        self._constants = {name: value for name, value in self._constants.items() if name in used}

    def forward(self, *inputs: Tensor) -> Tensor:
        """The graph's first output."""
        return self.run(*inputs)[0]

    def run(self, *inputs: Tensor) -> list[Tensor]:
        """All outputs."""
        values = dict(self._constants)
        values.update(zip(self.input_names, inputs, strict=True))
        for step in self._steps:
            answers = step.call(*(values[name] if name else None for name in step.inputs))
            answers = answers if isinstance(answers, tuple) else (answers,)
            values.update({name: value for name, value in zip(step.outputs, answers, strict=False) if name})
            for name in step.done:
                values.pop(name, None)
        return [values[name] for name in self.outputs]

    def _fold(self, nodes: list[Node]) -> list[Node]:
        """The nodes that depend on the input; the others are computed now, and their results are constants."""
        left = []
        for node in nodes:
            inputs = [name for name in node.inputs if name]
            if any(name not in self._constants for name in inputs):
                left.append(node)
                continue
            with torch.no_grad():
                answers = _call(node)(*(self._constants[name] if name else None for name in node.inputs))
            answers = answers if isinstance(answers, tuple) else (answers,)
            for name, value in zip(node.outputs, answers, strict=False):
                self._constants[name] = value
                self._origin[name] = self._origin[inputs[0]] if inputs else name
        return left

    def _build(self, nodes: list[Node]) -> list[Step]:
        uses = Counter(name for node in nodes for name in node.inputs)
        uses.update(self.outputs)
        readers = {name: node for node in nodes for name in node.inputs}
        made: dict[tuple[object, ...], Layer] = {}
        steps, skipped = [], set()
        for node in nodes:
            if id(node) in skipped:
                continue
            behind = readers.get(node.outputs[0]) if node.operator == "MatMul" and uses[node.outputs[0]] == 1 else None
            layer, outputs = None, node.outputs
            if behind is not None and behind.operator == "Add":
                layer = self._with_bias(node, behind)
                if layer is not None:
                    skipped.add(id(behind))
                    outputs = behind.outputs
            layer = layer or make_layer(node, self._constants)
            if layer is None:
                steps.append(Step(node.inputs, outputs, _call(node)))
                continue
            if layer.shared in made:
                layer = replace(made[layer.shared], inputs=layer.inputs)
            else:
                made[layer.shared] = layer
                self._keep(layer)
            steps.append(Step(layer.inputs, outputs, layer.call))
        return steps

    def _with_bias(self, product: Node, addition: Node) -> Layer | None:
        known = [name for name in addition.inputs if name in self._constants]
        weight = self._constants.get(product.inputs[1])
        if not known or weight is None or weight.ndim != 2:
            return None
        bias = self._constants[known[0]]
        if not bias.ndim or bias.shape[-1] != weight.shape[1] or bias.numel() != weight.shape[1] or bias.ndim > 2:
            return None
        layer = matmul_layer(product, self._constants, bias.reshape(-1))
        return None if layer is None else replace(layer, shared=(*layer.shared, known[0]))

    def _keep(self, layer: Layer) -> None:
        name = _layer_name(self._origin[layer.weight])
        number = 2
        while name in self.layers:
            name = f"{name.split('#')[0]}#{number}"
            number += 1
        self.layers[name] = layer.module
        self.add_module(name.replace(".", "/"), layer.module)

    def _last_uses(self, steps: list[Step]) -> list[Step]:
        last = {name: number for number, step in enumerate(steps) for name in (*step.inputs, *step.outputs) if name}
        kept = {*self.outputs, *self._constants}
        done: dict[int, list[str]] = {}
        for name, number in last.items():
            if name not in kept:
                done.setdefault(number, []).append(name)
        return [replace(step, done=tuple(done.get(number, ()))) for number, step in enumerate(steps)]


def expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its own functions inlined, and every operator unknown here that ONNX defines by others taken apart.

    Raises Unopenable with the first operator that is left unknown.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    if _unknown(model):
        known = [("", name) for name in OPERATORS]
        with contextlib.suppress(RuntimeError):  # the inliner wants types that shape inference does not find
            model = onnx.inliner.inline_selected_functions(model, known, exclude=True, inline_schema_functions=True)
    for name in _unknown(model):
        raise Unopenable(f"the importer does not know the operator {name}")
    return model


def _unknown(model: onnx.ModelProto) -> list[str]:
    return [full_name(node) for node in model.graph.node if full_name(node) not in OPERATORS]


def _nodes(model: onnx.ModelProto) -> list[Node]:
    opset = max((one.version for one in model.opset_import if one.domain in DOMAIN_OF_ONNX), default=1)
    types = {one.name: one.data_type for one in model.graph.initializer}
    types.update({one.name: one.type.tensor_type.elem_type for one in model.graph.input})
    nodes = []
    for proto in model.graph.node:
        node = read_node(proto, opset)
        if node.operator == "Constant" and "value" in node.attributes:
            types[node.outputs[0]] = node.attributes["value"].data_type
        nodes.append(_with_output_type(node, types))
    return nodes


def _with_output_type(node: Node, types: dict[str, int]) -> Node:
    """What a node quantises to is the type of its zero point, where it has one."""
    place = QUANTISERS.get(node.operator)
    if place is None or len(node.inputs) <= place or not node.inputs[place]:
        return node
    kind = types.get(node.inputs[place], TensorProto.UINT8)
    return replace(node, attributes={**node.attributes, "output_dtype": kind})


def _call(node: Node) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    function = OPERATORS[node.operator]
    return lambda *inputs: function(node, *inputs)


def _layer_name(weight: str) -> str:
    """fc1 of fc1.weight, fc1.weight_quantized and the like."""
    return weight.removesuffix("_quantized").removesuffix(".weight") or weight
