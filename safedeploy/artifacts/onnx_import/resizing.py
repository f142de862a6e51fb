"""Resize and Upsample, axis by axis: each axis is a product with its matrix of interpolation weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator
from safedeploy.artifacts.onnx_import.tensors import ints


@operator("Upsample")
def upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    factors = node.get("scales") if scales is None else scales.tolist()
    sizes = [math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True)]
    return _resized(node, x, list(range(x.ndim)), sizes, factors, [], "asymmetric")


@operator("Resize")
def resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    if node.opset < 11:  # (x, scales)
        roi, scales = None, roi
    axes = [axis % x.ndim for axis in node.get("axes", range(x.ndim))]
    if sizes is not None and sizes.numel():
        wanted = ints(sizes)
        factors = [size / x.shape[axis] for size, axis in zip(wanted, axes, strict=True)]
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factor = min(factors) if policy == "not_larger" else max(factors)
            factors = [factor] * len(axes)
            wanted = [math.floor(factor * x.shape[axis] + 0.5) for axis in axes]
    else:
        assert scales is not None
        factors = [float(factor) for factor in scales.tolist()]
        wanted = [math.floor(x.shape[axis] * factor) for axis, factor in zip(axes, factors, strict=True)]
    default = "half_pixel" if node.opset >= 11 else "asymmetric"
    where = node.get("coordinate_transformation_mode", default)
    return _resized(node, x, axes, wanted, factors, [] if roi is None else roi.tolist(), where)


def _resized(
    node: Node,
    x: Tensor,
    axes: Sequence[int],
    sizes: Sequence[int],
    factors: Sequence[float],
    roi: Sequence[float],
    where: str,
) -> Tensor:
    outside = []
    for number, axis in enumerate(axes):
        if factors[number] == 1 and sizes[number] == x.shape[axis] and where != "tf_crop_and_resize":
            continue
        crop = (roi[number], roi[number + len(axes)]) if where == "tf_crop_and_resize" else (0.0, 1.0)
        places = coordinates(where, sizes[number], x.shape[axis], factors[number], crop)
        if where == "tf_crop_and_resize":
            beyond = (places < 0) | (places > x.shape[axis] - 1)
            outside.append(beyond.reshape(-1, *[1] * (x.ndim - 1 - axis)))
        matrix = weights(node, places, x.shape[axis], factors[number]).to(x.dtype)
        x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    for beyond in outside:
        x = torch.where(beyond, torch.tensor(node.get("extrapolation_value", 0.0), dtype=x.dtype), x)
    return x


def coordinates(where: str, size: int, before: int, factor: float, crop: tuple[float, float]) -> Tensor:
    """Where each of `size` new places lies among the `before` old ones, (size,) float64."""
    i = torch.arange(size, dtype=torch.float64)
    if where == "half_pixel" or (where == "pytorch_half_pixel" and size > 1):
        return (i + 0.5) / factor - 0.5
    if where == "pytorch_half_pixel":
        return torch.full((size,), -0.5, dtype=torch.float64)
    if where == "half_pixel_symmetric":
        return before / 2 * (1 - size / (factor * before)) + (i + 0.5) / factor - 0.5
    if where == "align_corners":
        return i * (before - 1) / (before * factor - 1) if size > 1 else torch.zeros(size, dtype=torch.float64)
    if where == "asymmetric":
        return i / factor
    if where == "tf_crop_and_resize":
        first, last = (edge * (before - 1) for edge in crop)
        return first + i * (last - first) / (size - 1) if size > 1 else torch.full((size,), (first + last) / 2).double()
    raise Unopenable(f"the importer does not know Resize's coordinates '{where}'")


def weights(node: Node, places: Tensor, before: int, factor: float) -> Tensor:
    """(places, before): each row the weights of the old places in a new one."""
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        nearest = _nearest(node.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor"), places)
        return _placed(nearest[:, None], torch.ones(len(places), 1, dtype=torch.float64), before)
    stretch = min(factor, 1.0) if node.get("antialias", 0) else 1.0
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    taps = places.floor()[:, None] + torch.arange(1 - reach, reach + 1, dtype=torch.float64)
    distance = (places[:, None] - taps).abs() * stretch
    if mode == "linear":
        parts = (1 - distance).clamp(min=0)
    elif mode == "cubic":
        parts = _cubic(distance, node.get("cubic_coeff_a", -0.75))
    else:
        raise Unopenable(f"the importer does not know Resize's mode '{mode}'")
    if node.get("exclude_outside", 0):
        parts = torch.where((taps < 0) | (taps > before - 1), 0.0, parts)
    return _placed(taps, parts / parts.sum(1, keepdim=True), before)


def _nearest(rule: str, places: Tensor) -> Tensor:
    if rule == "floor":
        return places.floor()
    if rule == "ceil":
        return places.ceil()
    return (places - 0.5).ceil() if rule == "round_prefer_floor" else (places + 0.5).floor()


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' kernel (1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _placed(taps: Tensor, parts: Tensor, before: int) -> Tensor:
    where = taps.clamp(0, before - 1).long()
    return torch.zeros(len(taps), before, dtype=torch.float64).scatter_add(1, where, parts)
