"""Reductions over axes, given as an attribute or, in newer operator sets, as an input."""

from collections.abc import Callable

import torch
from torch import Tensor

from safedeploy.artifacts.onnx_import.registry import OPERATORS, Node, operator
from safedeploy.artifacts.onnx_import.tensors import ints

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep) if x.is_floating_point() else x.double().mean(axes, keepdim=keep).to(x.dtype)


def _empty(x: Tensor, axes: list[int]) -> bool:
    return any(x.shape[axis] == 0 for axis in axes)


def _extreme(x: Tensor, axes: list[int], keep: bool, *, largest: bool) -> Tensor:
    if x.dtype == torch.bool:
        return x.any(axes, keepdim=keep) if largest else x.all(axes, keepdim=keep)
    if _empty(x, axes):
        worst = -torch.inf if largest else torch.inf
        filled = torch.full([1 if n == 0 else n for n in x.shape], worst, dtype=x.dtype)
        return _extreme(filled, axes, keep, largest=largest)
    return x.amax(axes, keepdim=keep) if largest else x.amin(axes, keepdim=keep)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: _extreme(x, axes, keep, largest=True),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes, keep: _extreme(x, axes, keep, largest=False),
    "ReduceProd": _product,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).to(x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def _reduce(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    along = list(node.get("axes", ())) if axes is None else ints(axes)
    if not along:
        if node.get("noop_with_empty_axes", 0):
            return _kept(node, x)
        along = list(range(x.ndim))
    return REDUCTIONS[node.operator](x, along, bool(node.get("keepdims", 1))) if along else _kept(node, x)


def _kept(node: Node, x: Tensor) -> Tensor:
    """Over no axis at all: each element is reduced alone."""
    return REDUCTIONS[node.operator](x[None], [0], False)


OPERATORS.update(dict.fromkeys(REDUCTIONS, _reduce))


@operator("ArgMax", "ArgMin")
def arg_extreme(node: Node, x: Tensor) -> Tensor:
    axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
    find = torch.argmax if node.operator == "ArgMax" else torch.argmin
    if node.get("select_last_index", 0):
        last: Tensor = x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keep)
        return last
    return find(x, axis, keepdim=keep)
