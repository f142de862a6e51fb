"""Operators that work element by element, with ONNX's (numpy's) broadcasting."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from safedeploy.artifacts.onnx_import.registry import OPERATORS, Node, operator
from safedeploy.artifacts.onnx_import.tensors import broadcast

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Identity": lambda x: x,
}

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
}


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Node, Tensor], Tensor]:
    return lambda _, x: function(x)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Node, Tensor, Tensor], Tensor]:
    return lambda node, a, b: function(*_aligned(node, a, b))


OPERATORS.update({name: _unary(function) for name, function in UNARY.items()})
OPERATORS.update({name: _binary(function) for name, function in BINARY.items()})


def _aligned(node: Node, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Before opset 7, `axis` says at which axis of `a` those of `b` begin."""
    if node.opset < 7 and node.get("broadcast") and "axis" in node.attributes:
        start = node.get("axis") % a.ndim
        b = b.reshape(*b.shape, *[1] * (a.ndim - start - b.ndim))
    return a, b


@operator("Div")
def div(node: Node, a: Tensor, b: Tensor) -> Tensor:
    a, b = _aligned(node, a, b)
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod")
def mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


@operator("Pow")
def power(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The result has the type of the base."""
    if b.numel() == 1:  # a number keeps the gradient of a square finite at 0
        exponent = b.item()
        whole = int(exponent) if float(exponent).is_integer() else exponent
        answer: Tensor = torch.pow(a if a.is_floating_point() else a.double(), whole).to(a.dtype)
        return answer.reshape(broadcast(a.shape, b.shape))
    return torch.pow(a.double(), b.double()).to(a.dtype) if a.dtype != b.dtype else torch.pow(a, b)


@operator("Max")
def maximum(_: Node, *tensors: Tensor) -> Tensor:
    return reduce(torch.maximum, tensors)


@operator("Min")
def minimum(_: Node, *tensors: Tensor) -> Tensor:
    return reduce(torch.minimum, tensors)


@operator("Sum")
def total(_: Node, *tensors: Tensor) -> Tensor:
    return reduce(torch.add, tensors)


@operator("Mean")
def mean(_: Node, *tensors: Tensor) -> Tensor:
    return reduce(torch.add, tensors) / len(tensors)


@operator("Where")
def where(_: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@operator("IsInf")
def is_inf(node: Node, x: Tensor) -> Tensor:
    positive, negative = node.get("detect_positive", 1), node.get("detect_negative", 1)
    return torch.isinf(x) & ((x > 0) & bool(positive) | (x < 0) & bool(negative))


@operator("Clip")
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds were attributes before opset 11. A lower bound above the upper gives the upper."""
    lowest = node.get("min") if low is None else low
    highest = node.get("max") if high is None else high
    if lowest is not None:
        x = torch.maximum(x, torch.as_tensor(lowest, dtype=x.dtype, device=x.device))
    if highest is not None:
        x = torch.minimum(x, torch.as_tensor(highest, dtype=x.dtype, device=x.device))
    return x
