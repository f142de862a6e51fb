"""Convolution and pooling: what slides a window over the axes after the channels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator

Pads = list[tuple[int, int]]  # (before, after) of each axis
CONVOLVE: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
MAX_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
MEAN_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def known_axes(count: int, operator_name: str) -> int:
    if count not in CONVOLVE:
        raise Unopenable(f"the importer knows {operator_name} over 1 to 3 axes, not {count}")
    return count


def padding(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> Pads:
    """What `pads` or `auto_pad` asks for on axes of these sizes."""
    axes, mode = len(kernel), node.get("auto_pad", "NOTSET")
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    if mode == "NOTSET":
        pads = node.get("pads", [0] * 2 * axes)
        return list(zip(pads[:axes], pads[axes:], strict=True))
    if mode == "VALID":
        return [(0, 0)] * axes
    found = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        missing = max((math.ceil(size / stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
        less, more = missing // 2, missing - missing // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def padded(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    if not any(before or after for before, after in pads):
        return x
    return functional.pad(x, [side for both in reversed(pads) for side in both], value=value)


@operator("Conv")
def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = known_axes(x.ndim - 2, "Conv")
    x = padded(x, padding(node, x.shape[2:], node.get("kernel_shape", weight.shape[2:])))
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    return CONVOLVE[axes](x, weight, bias, strides, 0, dilations, node.get("group", 1))


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Padding takes from the whole result, and may differ at the two ends."""
    axes = known_axes(x.ndim - 2, "ConvTranspose")
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    extra, kernel = node.get("output_padding", [0] * axes), weight.shape[2:]
    whole = TRANSPOSED[axes](x, weight, bias, strides, 0, 0, node.get("group", 1), dilations)
    wanted, mode = node.get("output_shape"), node.get("auto_pad", "NOTSET")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    for axis in range(axes):
        full = strides[axis] * (x.shape[2 + axis] - 1) + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        if wanted is None:
            before, after = padding(node, x.shape[2:], kernel)[axis]
        else:
            full = max(full, wanted[-axes:][axis])
            total = full - wanted[-axes:][axis]
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
            after = total - before
        if full > whole.shape[2 + axis]:
            grow = [0, 0] * (axes - 1 - axis) + [0, full - whole.shape[2 + axis]]
            whole = _grown(whole, grow, bias)
        whole = whole.narrow(2 + axis, before, full - before - after)
    return whole


def _grown(x: Tensor, grow: list[int], bias: Tensor | None) -> Tensor:
    """Rows that no input reaches hold the bias alone."""
    if bias is None:
        return functional.pad(x, grow)
    shaped = bias.reshape(-1, *[1] * (x.ndim - 2))
    return functional.pad(x - shaped, grow) + shaped


def _pool_frame(node: Node, x: Tensor) -> tuple[list[int], list[int], list[int], Pads, Pads]:
    """kernel, strides, dilations, the padding asked for, and that with what `ceil_mode` adds at the end."""
    kernel = list(node.get("kernel_shape"))
    axes = len(kernel)
    strides, dilations = list(node.get("strides", [1] * axes)), list(node.get("dilations", [1] * axes))
    pads = padding(node, x.shape[2:], kernel)
    if not node.get("ceil_mode", 0):
        return kernel, strides, dilations, pads, pads
    grown = []
    for size, width, stride, dilation, (before, after) in zip(
        x.shape[2:], kernel, strides, dilations, pads, strict=True
    ):
        reach = dilation * (width - 1) + 1
        count = math.ceil((size + before + after - reach) / stride) + 1
        if (count - 1) * stride >= size + before:  # a window that starts in the padding at the end is none
            count -= 1
        grown.append((before, max(after, (count - 1) * stride + reach - size - before)))
    return kernel, strides, dilations, pads, grown


@operator("MaxPool")
def max_pool(node: Node, x: Tensor) -> Tensor:
    if len(node.outputs) > 1:
        raise Unopenable("the importer does not know MaxPool's second output")
    axes, kind = known_axes(x.ndim - 2, "MaxPool"), x.dtype
    kernel, strides, dilations, _, pads = _pool_frame(node, x)
    x = x if x.is_floating_point() else x.float()
    return MAX_POOL[axes](padded(x, pads, -torch.inf), kernel, strides, 0, dilations).to(kind)


@operator("AveragePool")
def average_pool(node: Node, x: Tensor) -> Tensor:
    """The mean of what a window holds of the input, or with `count_include_pad` of the input and its padding."""
    known_axes(x.ndim - 2, "AveragePool")
    kernel, strides, dilations, pads, grown = _pool_frame(node, x)
    means = _mean_windows(padded(x, grown), kernel, strides, dilations)
    if not any(before or after for before, after in grown):
        return means
    counted = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    if node.get("count_include_pad", 0):
        counted = padded(counted, pads, 1.0)
        rest = [(0, after - had) for (_, after), (_, had) in zip(grown, pads, strict=True)]
        counted = padded(counted, rest)
    else:
        counted = padded(counted, grown)
    return means / _mean_windows(counted, kernel, strides, dilations)


def _mean_windows(x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> Tensor:
    if all(dilation == 1 for dilation in dilations):
        return MEAN_POOL[len(kernel)](x, kernel, strides)
    return windows(x, kernel, strides, dilations).mean(list(range(-len(kernel), 0)))


def windows(x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Tensor:
    """A view (n, channels, *places, *kernel) of every window of `x` (n, channels, *sizes)."""
    axes = len(kernel)
    for axis in range(axes):
        x = x.unfold(2 + axis, dilations[axis] * (kernel[axis] - 1) + 1, strides[axis])
    for axis, dilation in enumerate(dilations):
        x = x[(slice(None),) * (2 + axes + axis) + (slice(None, None, dilation),)]
    return x


@operator("LpPool")
def lp_pool(node: Node, x: Tensor) -> Tensor:
    kernel, strides, dilations, _, pads = _pool_frame(node, x)
    p = node.get("p", 2)
    parts = windows(padded(x, pads), kernel, strides, dilations)
    return parts.abs().pow(p).sum(list(range(-len(kernel), 0))).pow(1 / p)


@operator("GlobalAveragePool")
def global_average_pool(_: Node, x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(_: Node, x: Tensor) -> Tensor:
    return x.amax(list(range(2, x.ndim)), keepdim=True)
