"""The units of one layer's weights: single weights, columns, kernels, blocks, and every M weights."""

import math

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.sparsity.units import Part, UnitSet
from safedeploy.structures import block_of, kind_of, n_of_m


def units_of(name: str, layer: nn.Module, structure: str) -> UnitSet | None:
    """The units of the weight called `name`; None where it stays whole.

    A column is all weights that multiply one input (at one position of the kernel), a kernel those of one output and
    one input; in a linear layer a kernel is a single weight. An embedding is read along its first axis. N:M leaves
    whole what reads fewer than M inputs, as depthwise convolutions do, and convolutions that read colours which M does
    not divide. Raises UserError where this layer cannot have the structure.
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    shape = tuple(weight.shape)
    reads = 0 if isinstance(layer, nn.Embedding) else 1
    row = None
    pattern = False
    match kind_of(structure):
        case "irregular":
            index, size = None, weight.numel()
        case "column":
            index, size = _along(shape, reads, *range(2, len(shape)))
        case "kernel":
            index, size = _along(shape, 0, 1)
        case "pattern":
            index, size = _along(shape, 0, 1)
            pattern = has_pattern(shape)
        case "block":
            index, size = _blocks(name, shape, structure)
        case _:
            kept, row = n_of_m(structure) or (0, 0)
            if shape[1] < row or (len(shape) > 2 and shape[1] <= COLOURS and shape[1] % row):
                return None
            _require_divisible(name, shape, kept, row)
            index, size = _rows(shape), weight.numel()
    cost = PATTERN if pattern else weight.numel() / size
    return UnitSet(size, cost, (shape,), (Part(name, index, pattern=pattern),), row=row)


COLOURS = 4  # channels of an image, at most
PATTERN = 4  # weights that a pattern keeps of a 3 × 3 kernel (Niu et al. 2020, PatDNN, section 4)


def has_pattern(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[2:] == (3, 3)


def _along(shape: tuple[int, ...], *axes: int) -> tuple[Tensor | None, int]:
    """A unit for each place along these axes."""
    extents = [extent if axis in axes else 1 for axis, extent in enumerate(shape)]
    size = math.prod(extents)
    return (None if size == math.prod(shape) else torch.arange(size).view(extents)), size


def _blocks(name: str, shape: tuple[int, ...], structure: str) -> tuple[Tensor, int]:
    """R × C blocks of the matrix (outputs, inputs · positions); one at an edge that it does not divide is smaller."""
    high, wide = block_of(structure) or (1, 1)
    rows, columns = shape[0], math.prod(shape[1:])
    if high > rows or wide > columns:
        raise UserError(
            f"--structure {structure} is larger than the matrix of {name}, {rows} by {columns}: use smaller blocks"
        )
    across = math.ceil(columns / wide)
    index = (torch.arange(rows) // high).view(-1, 1) * across + (torch.arange(columns) // wide).view(1, -1)
    return index.view(shape), math.ceil(rows / high) * across


def _require_divisible(name: str, shape: tuple[int, ...], kept: int, row: int) -> None:
    if shape[1] % row:
        able = [f"{n}:{m}" for m in range(2, 17) for n in range(1, m) if shape[1] % m == 0 and n * row == kept * m]
        instead = f"--structure {able[0]}" if able else "--structure irregular"
        raise UserError(
            f"--structure {kept}:{row}: {name} reads {shape[1]} inputs, which {row} does not divide; use {instead}"
        )


def _rows(shape: tuple[int, ...]) -> Tensor:
    """Numbers along the input axis first, so that each row of M units multiplies M neighbouring inputs."""
    last = (shape[0], *shape[2:], shape[1])
    return torch.arange(math.prod(shape)).view(last).movedim(-1, 1)
