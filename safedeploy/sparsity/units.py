"""Groups of weights that are kept or removed together: their norms, and the masks that follow from which are kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from safedeploy.sparsity.coupled import Group, Slot
from safedeploy.sparsity.masks import Masks

Kept = dict[str, Tensor]  # name of a unit set -> (k,) bool, True where the unit is kept
Tensors = Mapping[str, Tensor]  # parameter name -> values in its shape


@dataclass(frozen=True, eq=False)
class Part:
    """Which unit each value of one parameter belongs to.

    index: int64, of as many axes as the parameter, of size 1 along an axis where the unit does not change; the number
    of units where a value belongs to none. None: each value is a unit of its own. reads: a dormant unit is zero here,
    which takes all it answers out: the weights that read it. pattern: a kept unit, a
    3 × 3 kernel, keeps one pattern's places.
    """

    name: str
    index: Tensor | None
    reads: bool = False
    pattern: bool = False


@dataclass(frozen=True, eq=False)
class UnitSet:
    """`size` units that share a budget. cost: prunable weights that a kept one keeps, in the mean of them.

    weights: the shapes of the layers they are of. readers: what reads a unit and is not removed with it. row: an N:M
    structure keeps as many of every `row` consecutive units.
    """

    size: int
    cost: float
    weights: tuple[tuple[int, ...], ...]
    parts: tuple[Part, ...]
    readers: tuple[Part, ...] = ()
    row: int | None = None
    group: Group | None = None

    @property
    def reading(self) -> tuple[Part, ...]:
        """Where a dormant unit is zero."""
        return tuple(part for part in self.parts if part.reads) + self.readers


@dataclass(frozen=True, eq=False)
class Units:
    """All units of a module. shapes: of every parameter that has any. prunable: of every prunable weight.

    library: (p, 3, 3) bool, the patterns of a pattern structure.
    """

    structure: str
    sets: dict[str, UnitSet]
    shapes: dict[str, tuple[int, ...]]
    prunable: dict[str, tuple[int, ...]]
    library: Tensor | None = None

    @property
    def single(self) -> bool:
        """Whether every unit is one weight."""
        return all(one.cost == 1 and len(one.parts) == 1 for one in self.sets.values())

    @property
    def rows(self) -> dict[str, int]:
        """Of an N:M structure, M by set."""
        return {name: one.row for name, one in self.sets.items() if one.row is not None}

    @property
    def patterned(self) -> list[str]:
        """Of a pattern structure, the parameters of 3 × 3 kernels."""
        return [part.name for one in self.sets.values() for part in one.parts if part.pattern]

    def totals(self, tensors: Tensors, *, reading: bool = False) -> dict[str, Tensor]:
        """The sum of each unit's values (k,), which of a unit of one weight is the weight with its sign.

        A parameter that `tensors` lacks counts for nothing. reading: the weights that read a unit count as its own.
        """
        found = {}
        for name, one in self.sets.items():
            there = one.parts + one.readers if reading else one.parts
            parts = [_gathered(tensors[part.name], part, one.size) for part in there if part.name in tensors]
            found[name] = sum(parts[1:], start=parts[0])
        return found

    def norms(self, parameters: Tensors) -> dict[str, Tensor]:
        """The Euclidean norm of each unit (k,), which autograd follows; its gradient at a unit of zeros is zero."""
        squares = self.totals({name: value.square() for name, value in parameters.items() if name in self.shapes})
        return {name: _root(value) for name, value in squares.items()}

    def pool(self, tensors: Tensors, power: float = 2, *, reading: bool = False) -> dict[str, Tensor]:
        """(Σ |value|^power)^(1/power) of each unit (k,): its Euclidean norm where nothing else is said."""
        with torch.no_grad():
            powers = {name: value.abs() ** power for name, value in tensors.items() if name in self.shapes}
            return {name: value ** (1 / power) for name, value in self.totals(powers, reading=reading).items()}

    def held(self, masks: Tensors, *, reading: bool = False) -> Kept:
        """Which units are kept in masks that `spread` made: the way back. A parameter without a mask is kept."""
        found = {}
        for name, one in self.sets.items():
            parts = [part for part in (one.reading if reading else one.parts) if part.name in masks]
            first = masks[parts[0].name] if parts else None
            kept = torch.zeros(one.size, dtype=torch.bool, device=None if first is None else first.device)
            for part in parts:
                kept |= _gathered(masks[part.name].float(), part, one.size) > 0
            found[name] = kept if parts else ~kept
        return found

    def spread(self, kept: Kept, guide: Tensors | None = None, *, reading: bool = False) -> Masks:
        """Masks that keep the values of which every unit is kept.

        guide: in a pattern structure, the values that say which pattern of the library a kernel has: the one that keeps
        the largest norm of them. reading: masks where dormant units are zero, and no others.
        """
        masks: Masks = {}
        for name, one in self.sets.items():
            padded = torch.cat([kept[name], kept[name].new_ones(1)])
            for part in one.reading if reading else one.parts:
                shape = self.shapes[part.name]
                stays = kept[name].view(shape) if part.index is None else padded[part.index.to(padded.device)]
                if part.pattern:
                    stays = stays & self.patterns(part.name, guide)
                before = masks.get(part.name)
                masks[part.name] = (stays if before is None else before & stays).expand(shape)
        return {name: mask.clone(memory_format=torch.contiguous_format) for name, mask in masks.items()}

    def patterns(self, name: str, guide: Tensors | None) -> Tensor:
        """(outputs, inputs, 3, 3) bool: each kernel's pattern, the first of the library where the guide is all zero."""
        if self.library is None or guide is None:
            raise ValueError("a pattern structure needs its library, and values to choose patterns by")
        values = guide[name].detach().square()
        library = self.library.to(values.device)
        left = torch.einsum("oihw,phw->oip", values, library.to(values.dtype))
        return library[left.argmax(dim=2)]


def part_of(slot: Slot, shape: tuple[int, ...], channels: int, *, reads: bool = False) -> Part:
    """The part of a group's slot in a parameter of this shape, its channels the units."""
    index = torch.full((shape[slot.dim],), channels)
    index[slot.places] = torch.arange(channels).view(-1, 1)
    extents = [-1 if axis == slot.dim else 1 for axis in range(len(shape))]
    return Part(slot.name, index.view(extents), reads=reads)


def _gathered(value: Tensor, part: Part, size: int) -> Tensor:
    """(size,): the sum of a parameter's values by unit."""
    if part.index is None:
        return value.reshape(-1)
    same = [axis for axis, extent in enumerate(part.index.shape) if extent == 1 and value.shape[axis] != 1]
    summed = value.sum(dim=same, keepdim=True) if same else value
    index = part.index.to(value.device).reshape(-1)
    return summed.new_zeros(size + 1).index_add(0, index, summed.reshape(-1))[:size]


def _root(squares: Tensor) -> Tensor:
    """√x with gradient 0, not ∞, at 0."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
