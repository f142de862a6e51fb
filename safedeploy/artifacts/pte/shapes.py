"""Shapes that a file fixes for one batch, made to hold for any: the first axis stays the samples'."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.program import LARGEST

Run = Callable[..., Tensor]


def reshape(shape: Sequence[int], wanted: Sequence[int], batch: int | None) -> Run:
    """What reshapes (batch, ...) to `wanted`; one size may be -1. batch: None where no axis is the samples'.

    Raises Unreadable where samples would mix.
    """
    wanted = _filled(shape, wanted)
    if batch is None:
        return partial(_reshaped, rest=tuple(wanted))
    if batch == 1 and (_merges(shape, wanted) or _merges(wanted, shape)):
        return partial(_reshaped, rest=(-1, *wanted[1:]))
    if not shape or not wanted or (shape[0], wanted[0]) != (batch, batch):
        raise Unreadable(f"the program reshapes {tuple(shape)} to {tuple(wanted)}, which mixes samples")
    return partial(_reshaped_samples, rest=tuple(wanted[1:]))


def expand(shape: Sequence[int], wanted: Sequence[int], batch: int | None) -> Run:
    """What repeats axes of size 1 to `wanted`, where -1 keeps a size. batch: as in `reshape`."""
    if math.prod(wanted) > LARGEST:
        raise Unreadable(f"the file is damaged: it expands {tuple(shape)} to {tuple(wanted)}")
    if batch is None:
        return partial(_expanded, sizes=tuple(wanted))
    if tuple(shape) == tuple(wanted):
        return Tensor.clone
    if len(shape) != len(wanted) or shape[0] != batch or wanted[0] not in (batch, -1):
        raise Unreadable(f"the program expands {tuple(shape)} to {tuple(wanted)}, which mixes samples")
    return partial(_expanded, sizes=(-1, *wanted[1:]))


def check_order(order: Sequence[int], shape: Sequence[int], *, keeps_first: bool) -> None:
    """Raises Unreadable for what is no order of the axes or moves the samples' axis that must stay."""
    if sorted(order) != list(range(len(shape))):
        raise Unreadable(f"the file is damaged: it permutes {len(shape)} axes by {tuple(order)}")
    if keeps_first and order and order[0] != 0:
        raise Unreadable("the program moves the axis of the samples")


def check_window(
    source: Sequence[int], target: Sequence[int], axis: int, *, pad: int, kernel: int, stride: int, dilation: int
) -> None:
    """Raises Unreadable where windows of `kernel` over `source` do not give the size of `target` along `axis`."""
    if len(source) != 4 or len(target) != 4 or stride < 1 or kernel < 1 or dilation < 1:
        raise Unreadable(f"the file is damaged: windows over {tuple(source)} give {tuple(target)}")
    room = source[axis] + pad - dilation * (kernel - 1) - 1
    if room < 0 or room // stride + 1 != target[axis]:
        raise Unreadable(f"the file is damaged: windows over {tuple(source)} give {tuple(target)}")


def _filled(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    sizes = list(wanted)
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and not math.prod(shape) % known:
        sizes[sizes.index(-1)] = math.prod(shape) // known
    if min(sizes, default=0) < 0 or math.prod(sizes) != math.prod(shape):
        raise Unreadable(f"the file is damaged: it reshapes {tuple(shape)} to {tuple(wanted)}")
    return sizes


def _merges(apart: Sequence[int], together: Sequence[int]) -> bool:
    """Whether (1, heads, ...) becomes (heads, ...), as attention's products have it: sample after sample either way."""
    return len(apart) > 2 and apart[0] == 1 and tuple(apart[1:]) == tuple(together)


def _reshaped(x: Tensor, *, rest: tuple[int, ...]) -> Tensor:
    return x.reshape(rest)


def _expanded(x: Tensor, *, sizes: tuple[int, ...]) -> Tensor:
    return x.expand(sizes)


def _reshaped_samples(x: Tensor, *, rest: tuple[int, ...]) -> Tensor:
    return x.reshape(x.shape[0], *rest)
