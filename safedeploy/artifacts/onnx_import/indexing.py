"""Operators that pick, place or repeat elements by index."""

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator
from safedeploy.artifacts.onnx_import.tensors import ints


def _positive(indices: Tensor, size: int) -> Tensor:
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


@operator("Gather")
def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    where = _positive(indices, x.shape[axis])
    picked = x.index_select(axis, where.reshape(-1))
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@operator("GatherElements")
def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, _positive(indices, x.shape[axis]))


@operator("GatherND")
def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    batch = node.get("batch_dims", 0)
    depth = indices.shape[-1]
    columns = [_positive(indices[..., i], x.shape[batch + i]) for i in range(depth)]
    for axis in range(batch):
        shape = [1] * (indices.ndim - 1)
        shape[axis] = x.shape[axis]
        columns.insert(axis, torch.arange(x.shape[axis]).reshape(shape))
    return x[tuple(columns)]


REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis, how = node.get("axis", 0), node.get("reduction", "none")
    where = _positive(indices, x.shape[axis])
    if how == "none":
        return x.scatter(axis, where, updates)
    return x.scatter_reduce(axis, where, updates, REDUCE[how])


@operator("ScatterND")
def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    how, depth = node.get("reduction", "none"), indices.shape[-1]
    columns = [_positive(indices[..., i], x.shape[i]) for i in range(depth)]
    if how in ("none", "add"):
        return x.index_put(tuple(columns), updates, accumulate=how == "add")
    rows = torch.zeros_like(columns[0])
    for column, size in zip(columns, x.shape[:depth], strict=True):
        rows = rows * size + column
    flat = x.reshape(-1, *x.shape[depth:])
    where = rows.reshape(-1, *[1] * (x.ndim - depth)).expand(-1, *x.shape[depth:])
    return flat.scatter_reduce(0, where, updates.reshape(where.shape), REDUCE[how]).reshape(x.shape)


@operator("Slice")
def slices(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Starts, ends and axes were attributes before opset 10."""
    begin = list(node.get("starts", ())) if starts is None else ints(starts)
    end = list(node.get("ends", ())) if ends is None else ints(ends)
    along = node.get("axes", list(range(len(begin)))) if axes is None else ints(axes)
    by = [1] * len(begin) if steps is None else ints(steps)
    for axis, first, last, step in zip(along, begin, end, by, strict=True):
        size = x.shape[axis]
        if step < 0 and last < -size:  # ONNX: past the first element; Python would count from the end
            where = range(*slice(first, None, step).indices(size))
        else:
            where = range(*slice(first, last, step).indices(size))
        if step == 1:
            x = x.narrow(axis, where.start, len(where)) if len(where) else x.narrow(axis, 0, 0)
        else:
            x = x.index_select(axis, torch.tensor(list(where), dtype=torch.int64))
    return x


@operator("Pad")
def pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    sizes = list(node.get("pads", node.get("paddings", ()))) if pads is None else ints(pads)
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in ints(axes)]
    both = dict(zip(along, zip(sizes[: len(along)], sizes[len(along) :], strict=True), strict=True))
    mode = node.get("mode", "constant")
    if mode == "constant":
        fill = node.get("value", 0.0) if value is None or value.numel() == 0 else value.item()
        order = [side for axis in reversed(range(x.ndim)) for side in both.get(axis, (0, 0))]
        return functional.pad(x, order, value=fill)
    for axis, (before, after) in both.items():
        x = x.index_select(axis, _reflected(mode, torch.arange(-before, x.shape[axis] + after), x.shape[axis]))
    return x


def _reflected(mode: str, where: Tensor, size: int) -> Tensor:
    if mode == "edge":
        return where.clamp(0, size - 1)
    if mode == "wrap":
        return where % size
    if mode != "reflect":
        raise Unopenable(f"the importer does not know Pad's mode '{mode}'")
    period = max(2 * (size - 1), 1)
    where = where % period
    return torch.where(where < size, where, period - where)


@operator("TopK")
def top_k(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A stable sort, since equal values go by the lower index."""
    axis = node.get("axis", -1)
    count = node.get("k") if k is None else int(k)
    values, where = x.sort(dim=axis, descending=bool(node.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), where.narrow(axis, 0, count)


@operator("NonZero")
def non_zero(_: Node, x: Tensor) -> Tensor:
    return x.nonzero().T


@operator("Compress")
def compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    axis = node.get("axis")
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.index_select(axis, condition.nonzero().reshape(-1))
