"""Operators that look at a tensor's shape or give it another."""

import math

import onnx
import torch
from torch import Tensor

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator
from safedeploy.artifacts.onnx_import.tensors import broadcast, dtype, from_proto, ints


@operator("Constant")
def constant(node: Node) -> Tensor:
    if "value" in node.attributes:
        return from_proto(node.attributes["value"])
    for kind, torch_type in (("float", torch.float32), ("int", torch.int64)):
        for name in (f"value_{kind}", f"value_{kind}s"):
            if name in node.attributes:
                return torch.tensor(node.attributes[name], dtype=torch_type)
    if "sparse_value" in node.attributes:
        return sparse(node.attributes["sparse_value"])
    raise Unopenable("the importer does not know constants of strings")


def sparse(proto: onnx.SparseTensorProto) -> Tensor:
    """A sparse constant made dense."""
    values, indices, shape = from_proto(proto.values), from_proto(proto.indices), list(proto.dims)
    if indices.ndim == 2:
        steps = torch.tensor([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])
        indices = (indices * steps).sum(1)
    return torch.zeros(math.prod(shape), dtype=values.dtype).scatter(0, indices, values).reshape(shape)


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = from_proto(node.get("value")) if node.get("value") is not None else torch.zeros(1)
    return value.reshape(()).expand(ints(shape)).clone()


@operator("Shape")
def shape_of(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[node.get("start", 0) : node.get("end")], dtype=torch.int64)


@operator("Size")
def size(_: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Reshape")
def reshape(node: Node, x: Tensor, shape: Tensor | None = None) -> Tensor:
    """0 copies the input's size there, unless `allowzero`."""
    wanted = list(node.get("shape")) if shape is None else ints(shape)
    if not node.get("allowzero", 0):
        wanted = [x.shape[axis] if one == 0 else one for axis, one in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten")
def flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Squeeze")
def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    along = node.get("axes") if axes is None else ints(axes)
    return x.squeeze() if along is None else x.squeeze(tuple(along))


@operator("Unsqueeze")
def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    along = list(node.get("axes", ())) if axes is None else ints(axes)
    for axis in sorted(axis % (x.ndim + len(along)) for axis in along):
        x = x.unsqueeze(axis)
    return x


@operator("Transpose")
def transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm", list(reversed(range(x.ndim)))))


@operator("Expand")
def expand(_: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(broadcast(x.shape, ints(shape)))


@operator("Tile")
def tile(_: Node, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(ints(repeats))


@operator("Concat")
def concat(node: Node, *parts: Tensor) -> Tensor:
    return torch.cat(parts, node.get("axis", 1))


@operator("Split")
def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, given = node.get("axis", 0), node.get("split") if sizes is None else ints(sizes)
    if given is None:
        each = -(-x.shape[axis] // node.get("num_outputs", len(node.outputs)))
        return torch.split(x, each, axis)
    return torch.split(x, list(given), axis)


@operator("Cast")
def cast(node: Node, x: Tensor) -> Tensor:
    return x.to(dtype(node.get("to")))


@operator("CastLike")
def cast_like(_: Node, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@operator("Range")
def span(_: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operator("EyeLike")
def eye_like(node: Node, x: Tensor) -> Tensor:
    kind = dtype(node.get("dtype")) if "dtype" in node.attributes else x.dtype
    rows, columns = x.shape
    ones: Tensor = torch.arange(columns) - torch.arange(rows)[:, None] == node.get("k", 0)
    return ones.to(kind)


@operator("Trilu")
def trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return x.triu(diagonal) if node.get("upper", 1) else x.tril(diagonal)


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Tensor) -> Tensor:
    block, (n, channels, height, width) = node.get("blocksize"), x.shape
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, channels // block**2, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels // block**2, height * block, width * block)


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Tensor) -> Tensor:
    block, (n, channels, height, width) = node.get("blocksize"), x.shape
    parts = x.reshape(n, channels, height // block, block, width // block, block)
    parts = parts.permute(0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else parts.permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, channels * block**2, height // block, width // block)


@operator("OneHot")
def one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    axis, count = node.get("axis", -1), int(depth)
    where = indices.long()
    where = torch.where(where < 0, where + count, where)
    axis = axis % (indices.ndim + 1)
    grid = torch.arange(count).reshape(-1, *[1] * (indices.ndim - axis))
    return torch.where(where.unsqueeze(axis) == grid, values[1], values[0])


@operator("CumSum")
def cumulative_sum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    along = int(axis)
    x = x.flip(along) if node.get("reverse", 0) else x
    total = x.cumsum(along, dtype=x.dtype)
    total = total - x if node.get("exclusive", 0) else total
    return total.flip(along) if node.get("reverse", 0) else total
