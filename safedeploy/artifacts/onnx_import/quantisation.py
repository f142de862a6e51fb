"""Quantisation with a straight-through gradient: integers travel as floats of whole value."""

import torch
from onnx import TensorProto
from torch import Tensor

from safedeploy.artifacts.onnx_import.registry import Node, operator
from safedeploy.artifacts.onnx_import.tensors import value_range
from safedeploy.artifacts.onnx_import.windows import conv


def _along(x: Tensor, values: Tensor, axis: int, block: int) -> Tensor:
    """Scales or zero points so that they broadcast: one for all, for each index of an axis or for each block."""
    if values.numel() == 1 and values.ndim <= 1:
        return values.reshape(())
    if values.ndim == 1 and not block:
        return values.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis]) if block else values


def quantised(x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    """clamp(round(x / scale) + zero, low, high) as floats, halves to even.

    The gradient passes where x lies within the range that can be represented and is zero outside (Bengio et al. 2013,
    with the clamp's own derivative): where a file has put a ReLU into the clamp, this is the ReLU's gradient.
    """
    steps = x / scale
    inside = steps.clamp(low - zero, high - zero)
    return inside + (inside.detach().round().clamp(low - zero, high - zero) - inside).detach() + zero


@operator("QuantizeLinear")
def quantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    low, high = value_range(node.get("output_dtype", 0) or TensorProto.UINT8)
    shift = torch.zeros((), dtype=x.dtype) if zero is None else _along(x, zero.to(x.dtype), axis, block)
    return quantised(x, _along(x, scale.to(x.dtype), axis, block), shift, low, high)


@operator("DequantizeLinear")
def dequantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    whole = x.to(scale.dtype)
    if zero is not None:
        whole = whole - _along(x, zero.to(scale.dtype), axis, block)
    return whole * _along(x, scale, axis, block)


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(_: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 over the range of the whole input, 0 included; the range itself carries no gradient."""
    seen = x.detach()
    low, high = seen.min().clamp(max=0), seen.max().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (0 - low / scale).round().clamp(0, 255)
    return quantised(x, scale, zero, 0, 255), scale, zero


def _from_zero(x: Tensor, zero: Tensor | None, *, rows: bool) -> Tensor:
    """Whole numbers without their zero point: one for all, one a row of the left or a column of the right factor."""
    whole = x.float()
    if zero is None:
        return whole
    shift = zero.float()
    return whole - (shift.unsqueeze(-1) if rows and shift.ndim == 1 and shift.numel() > 1 else shift)


@operator("MatMulInteger")
def matmul_integer(_: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    return _from_zero(a, a_zero, rows=True) @ _from_zero(b, b_zero, rows=False)


@operator("ConvInteger")
def conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, weight_zero: Tensor | None = None
) -> Tensor:
    return conv(node, _from_zero(x, x_zero, rows=False), _channels_from_zero(weight, weight_zero))  # type: ignore[return-value]


def _channels_from_zero(weight: Tensor, zero: Tensor | None) -> Tensor:
    return weight.float() - (0.0 if zero is None else _along(weight, zero.float(), 0, 0))


@operator("QLinearMatMul")
def qlinear_matmul(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    product = (_from_zero(a, a_zero, rows=True) * a_scale) @ (_from_zero(b, b_zero, rows=False) * b_scale)
    low, high = value_range(node.get("output_dtype", 0) or TensorProto.UINT8)
    return quantised(product, y_scale, y_zero.float(), low, high)


@operator("QLinearConv")
def qlinear_conv(
    node: Node,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    weight_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    scale = _along(weight, weight_scale, 0, 0)
    kernel = _channels_from_zero(weight, weight_zero) * scale
    offset = None if bias is None else bias.float() * x_scale * weight_scale
    whole = conv(node, (x.float() - x_zero.float()) * x_scale, kernel, offset)
    assert isinstance(whole, Tensor)
    low, high = value_range(node.get("output_dtype", 0) or TensorProto.UINT8)
    return quantised(whole, y_scale, y_zero.float(), low, high)
