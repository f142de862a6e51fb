"""Nodes with constant weights as torch modules, so that hooks and per-sample gradient norms find them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.affine import Scale, Shift
from safedeploy.artifacts.onnx_import.quantisation import quantised
from safedeploy.artifacts.onnx_import.registry import Node
from safedeploy.artifacts.onnx_import.tensors import value_range
from safedeploy.artifacts.onnx_import.windows import padded, padding

Constants = Mapping[str, Tensor]
CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, eq=False)
class Layer:
    """`module`, the names of the tensors it is applied to, and how; `weight`: the name of the constant it is made of.

    `shared`: what two nodes have in common when they are the same layer applied twice.
    """

    module: nn.Module
    weight: str
    inputs: tuple[str, ...]
    call: Callable[..., Tensor]
    shared: tuple[object, ...]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over any number of axes after the channels."""

    def _check_input_dim(self, _: Tensor) -> None:
        pass


def make_layer(node: Node, constants: Constants) -> Layer | None:
    """The layer that `node` is, or None where it has no constant weights or a form that only a function has."""
    maker = MAKERS.get(node.operator)
    return maker(node, constants) if maker is not None else None


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """weight: (inputs, outputs)."""
    with torch.device("meta"):  # its own weights are not drawn
        module = nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None)
    module.weight = nn.Parameter(weight.T.contiguous())
    if bias is not None:
        module.bias = nn.Parameter(bias.to(weight.dtype).expand(weight.shape[1]).contiguous())
    return module


def convolution(node: Node, weight: Tensor, bias: Tensor | None) -> tuple[nn.Module, Callable[[Tensor], Tensor]] | None:
    """The module, and how to apply it where its padding differs at the two ends or depends on the size."""
    axes = weight.ndim - 2
    if axes not in CONVOLUTIONS:
        return None
    groups, kernel = node.get("group", 1), tuple(weight.shape[2:])
    strides, dilations = (tuple(node.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads = padding(node, kernel, kernel) if node.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") else None
    even = pads is not None and all(before == after for before, after in pads)
    with torch.device("meta"):
        module = CONVOLUTIONS[axes](
            weight.shape[1] * groups,
            weight.shape[0],
            kernel,
            stride=strides,
            padding=tuple(before for before, _ in pads) if pads is not None and even else 0,
            dilation=dilations,
            groups=groups,
            bias=bias is not None,
        )
    module.weight = nn.Parameter(weight)
    if bias is not None:
        module.bias = nn.Parameter(bias.to(weight.dtype))
    if even:
        return module, module
    return module, lambda x: module(padded(x, padding(node, x.shape[2:], kernel)))


def _attributes(node: Node) -> tuple[object, ...]:
    return tuple(sorted((key, str(value)) for key, value in node.attributes.items()))


def _key(node: Node) -> tuple[object, ...]:
    return (node.operator, *node.inputs[1:], _attributes(node))


def _conv(node: Node, constants: Constants) -> Layer | None:
    names = node.inputs[1:]
    if node.inputs[0] in constants or any(name and name not in constants for name in names):
        return None
    bias = constants[names[1]] if len(names) > 1 and names[1] else None
    made = convolution(node, constants[names[0]], bias)
    return None if made is None else Layer(made[0], names[0], node.inputs[:1], made[1], _key(node))


def _gemm(node: Node, constants: Constants) -> Layer | None:
    """Factors alpha and beta are multiplied into weight and bias."""
    names = node.inputs[1:]
    if node.get("transA", 0) or node.inputs[0] in constants or any(name and name not in constants for name in names):
        return None
    weight = constants[names[0]].T if node.get("transB", 0) else constants[names[0]]
    bias = constants[names[1]] if len(names) > 1 and names[1] else None
    if bias is not None and (bias.numel() not in (1, weight.shape[1]) or bias.shape[-1:] not in ((), (bias.numel(),))):
        return None
    bias = None if bias is None else bias.reshape(-1) * node.get("beta", 1.0)
    module = linear(weight * node.get("alpha", 1.0), bias)
    return Layer(module, names[0], node.inputs[:1], module, _key(node))


def matmul_layer(node: Node, constants: Constants, bias: Tensor | None = None) -> Layer | None:
    """`bias` is what a node behind adds to the product; a constant on the left is a layer of the transposed product."""
    left, right = node.inputs
    if right in constants and constants[right].ndim == 2 and left not in constants:
        module = linear(constants[right], bias)
        return Layer(module, right, (left,), module, _key(node))
    if bias is None and left in constants and constants[left].ndim == 2 and right not in constants:
        module = linear(constants[left].T, None)
        return Layer(module, left, (right,), lambda x: _transposed(module, x), (*_key(node), "left"))
    return None


def _transposed(module: nn.Module, x: Tensor) -> Tensor:
    answer: Tensor = module(x) if x.ndim == 1 else module(x.transpose(-1, -2)).transpose(-1, -2)
    return answer


def _batch_normalization(node: Node, constants: Constants) -> Layer | None:
    names = node.inputs[1:]
    if any(name not in constants for name in names) or node.get("training_mode", 0) or len(node.outputs) > 1:
        return None
    if node.opset < 7 and not node.get("is_test", 0):
        return None
    scale, bias, mean, variance = (constants[name] for name in names)
    module = BatchNorm(len(scale), eps=node.get("epsilon", 1e-5))
    module.weight, module.bias = nn.Parameter(scale), nn.Parameter(bias)
    module.running_mean, module.running_var = mean, variance
    return Layer(module, names[0], node.inputs[:1], module, _key(node))


def _layer_normalization(node: Node, constants: Constants) -> Layer | None:
    names = node.inputs[1:]
    if len(node.outputs) > 1 or any(name and name not in constants for name in names):
        return None
    scale, bias = constants[names[0]], constants[names[1]] if len(names) > 1 and names[1] else None
    if node.get("axis", -1) != -scale.ndim or (bias is not None and bias.shape != scale.shape):
        return None
    module = nn.LayerNorm(list(scale.shape), eps=node.get("epsilon", 1e-5), bias=bias is not None)
    module.weight = nn.Parameter(scale)
    if bias is not None:
        module.bias = nn.Parameter(bias)
    return Layer(module, names[0], node.inputs[:1], module, _key(node))


def _group_normalization(node: Node, constants: Constants) -> Layer | None:
    names = node.inputs[1:]
    if any(name not in constants for name in names) or node.opset < 21:
        return None
    scale, bias = (constants[name] for name in names)
    module = nn.GroupNorm(node.get("num_groups"), len(scale), eps=node.get("epsilon", 1e-5))
    module.weight, module.bias = nn.Parameter(scale), nn.Parameter(bias)
    return Layer(module, names[0], node.inputs[:1], module, _key(node))


def _embedding(node: Node, constants: Constants) -> Layer | None:
    """A table of vectors that indices look up."""
    table, indices = node.inputs
    if table not in constants or indices in constants or node.get("axis", 0) != 0:
        return None
    weight = constants[table]
    if weight.ndim != 2 or not weight.is_floating_point():
        return None
    module = nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    rows = weight.shape[0]
    call = lambda indices: module(torch.where(indices < 0, indices + rows, indices).long())  # noqa: E731
    return Layer(module, table, (indices,), call, _key(node))


def _elementwise(node: Node, constants: Constants) -> Layer | None:
    """A product or sum with a constant of several elements: the affine part of a normalisation that was taken apart."""
    known = [name for name in node.inputs if name in constants]
    if len(node.inputs) != 2 or len(known) != 1 or node.opset < 7:
        return None
    weight = constants[known[0]]
    if weight.numel() < 2 or not weight.is_floating_point() or not bool(torch.isfinite(weight).all()):
        return None
    module = Scale(weight) if node.operator == "Mul" else Shift(weight)
    rest = tuple(name for name in node.inputs if name not in constants)
    return Layer(module, known[0], rest, module, (node.operator, known[0]))


def _prelu(node: Node, constants: Constants) -> Layer | None:
    x, slope = node.inputs
    if slope not in constants or constants[slope].numel() < 2:
        return None
    module = Scale(constants[slope])
    return Layer(module, slope, (x,), lambda x: functional.relu(x) + module(x.clamp(max=0)), _key(node))


def _matmul_integer(node: Node, constants: Constants) -> Layer | None:
    """The weight is in the file's integers, less their zero point, since its scale is applied behind the product."""
    names = (*node.inputs, "", "")
    x, weight, x_zero, weight_zero = names[:4]
    if weight not in constants or x in constants or (weight_zero and weight_zero not in constants):
        return None
    if constants[weight].ndim != 2:
        return None
    module = linear(_less(constants[weight], constants.get(weight_zero), 1), None)
    inputs = (x, x_zero) if x_zero and x_zero not in constants else (x,)
    zero = constants[x_zero].float() if x_zero in constants else torch.zeros(())
    if zero.numel() != 1:
        return None
    return Layer(module, weight, inputs, lambda x, by=zero: module(x.float() - by.float()), _key(node))


def _conv_integer(node: Node, constants: Constants) -> Layer | None:
    names = (*node.inputs, "", "")
    x, weight, x_zero, weight_zero = names[:4]
    if weight not in constants or x in constants or (weight_zero and weight_zero not in constants):
        return None
    made = convolution(node, _less(constants[weight], constants.get(weight_zero), 0), None)
    if made is None:
        return None
    module, call = made
    inputs = (x, x_zero) if x_zero and x_zero not in constants else (x,)
    zero = constants[x_zero].float() if x_zero in constants else torch.zeros(())
    return Layer(module, weight, inputs, lambda x, by=zero: call(x.float() - by.float()), _key(node))


def _less(weight: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    if zero is None:
        return weight.float()
    return weight.float() - (zero.float() if zero.numel() == 1 else _spread(zero.float(), weight, axis))


def _spread(values: Tensor, weight: Tensor, axis: int) -> Tensor:
    """One value for each index of `axis`, so that it broadcasts over `weight`."""
    return values.reshape([-1 if one == axis else 1 for one in range(weight.ndim)]) if values.numel() > 1 else values


def _qlinear(node: Node, constants: Constants) -> Layer | None:
    """QLinearConv and QLinearMatMul with everything constant but the input; the weight is the dequantised one."""
    x, x_scale, x_zero, weight, weight_scale, weight_zero, y_scale, y_zero = node.inputs[:8]
    bias = node.inputs[8] if len(node.inputs) > 8 else ""
    if x in constants or any(name and name not in constants for name in node.inputs[1:]):
        return None
    convolves = node.operator == "QLinearConv"
    scale, axis = constants[weight_scale], 0 if convolves else 1
    kernel = _less(constants[weight], constants[weight_zero], axis) * _spread(scale, constants[weight], axis)
    step, zero = constants[x_scale], constants[x_zero].float()
    offset = constants[bias].float() * step * scale if bias else None
    if convolves:
        made = convolution(node, kernel, offset)
    else:
        whole = linear(kernel, None) if kernel.ndim == 2 and math.prod(step.shape) == 1 else None
        made = None if whole is None else (whole, whole)
    if made is None:
        return None
    module, call = made
    low, high = value_range(node.get("output_dtype", 0) or TensorProto.UINT8)
    to_step, to_zero = constants[y_scale], constants[y_zero].float()

    def apply(x: Tensor) -> Tensor:
        return quantised(call((x.float() - zero) * step), to_step, to_zero, low, high)

    return Layer(module, weight, (x,), apply, _key(node))


MAKERS: dict[str, Callable[[Node, Constants], Layer | None]] = {
    "Add": _elementwise,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "Gather": _embedding,
    "Gemm": _gemm,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "MatMul": matmul_layer,
    "MatMulInteger": _matmul_integer,
    "Mul": _elementwise,
    "PRelu": _prelu,
    "QLinearConv": _qlinear,
    "QLinearMatMul": _qlinear,
}
