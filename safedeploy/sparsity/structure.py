"""The structures a mask can have, from single weights to channels: the units of a module, and what of them is kept."""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.sparsity import ranking
from safedeploy.sparsity.budget import Divisible, erk, erk_groups
from safedeploy.sparsity.channels import channel_sizes
from safedeploy.sparsity.coupled import Group, coupled_channels
from safedeploy.sparsity.filters import filter_sets
from safedeploy.sparsity.layerwise import has_pattern, units_of
from safedeploy.sparsity.masks import PRUNABLE, Masks, shapes
from safedeploy.sparsity.patterns import learned_library
from safedeploy.sparsity.shrink import shrink, without_filters
from safedeploy.sparsity.units import Kept, Tensors, Units, UnitSet, part_of
from safedeploy.structures import kind_of, n_of_m


def structured(module: nn.Module, input_shape: Sequence[int], structure: str, library: Tensor | None = None) -> Units:
    """The units of a module's weights in `structure`, in sets that share a budget: a layer's, or coupled channels.

    input_shape: without the batch. library: of a pattern structure, learned from the module's weights if not given.
    Raises UserError where the module, or one layer of it, cannot have the structure.
    """
    kind = kind_of(structure)
    if kind == "channel":
        return _channels(module, input_shape)
    layers = {
        f"{name}.weight" if name else "weight": layer
        for name, layer in module.named_modules()
        if isinstance(layer, PRUNABLE)
    }
    prunable = shapes(module)
    if kind == "pattern":
        kernels = [
            weight for name, weight in module.named_parameters() if name in prunable and has_pattern(prunable[name])
        ]
        _require_kernels(prunable, len(kernels))
        library = learned_library(kernels) if library is None else library
    if kind == "filter":
        sets = filter_sets(module, input_shape)
        named = {name: tuple(value.shape) for name, value in module.named_parameters()}
        return Units(
            structure,
            sets,
            {part.name: named[part.name] for one in sets.values() for part in one.parts + one.readers},
            prunable,
        )
    found = {name: units_of(name, layer, structure) for name, layer in layers.items()}
    sets = {name: one for name, one in found.items() if one is not None}
    if not sets:
        raise UserError(
            f"--structure {structure}: no layer of this model reads so many inputs; use --structure irregular"
        )
    return Units(structure, sets, {name: prunable[name] for name in sets}, prunable, library)


def counts_of(units: Units, density: float) -> dict[str, int]:
    """How many units each set keeps so that the share `density` of the prunable weights is left.

    ERK's counts; channels in steps, the same share of every group; N of M where the structure says it itself.
    Raises UserError where that is not possible.
    """
    if units.structure == "channel":
        evenly = {name: (torch.arange(one.size) + 0.5) / one.size for name, one in units.sets.items()}
        return channel_sizes(units.prunable, _groups(units), evenly, density)
    if named := n_of_m(units.structure):
        kept, row = named
        if abs(density - kept / row) > 1e-6:
            raise UserError(
                f"--structure {units.structure} keeps {kept / row:g} of the weights: leave out --density {density:g},"
                f" or say --density {kept / row:g}"
            )
        return {name: one.size * kept // row for name, one in units.sets.items()}
    if kind_of(units.structure) == "irregular":
        return erk(units.prunable, density)
    layers = {name: Divisible(one.weights, one.size, one.cost) for name, one in units.sets.items()}
    everything = sum(math.prod(shape) for shape in units.prunable.values())
    return erk_groups(layers, everything, density, units.structure)


def largest(units: Units, scores: Mapping[str, Tensor], counts: Mapping[str, int]) -> Kept:
    """The units of highest score, `counts` of each set, or N of every M; ties by position."""
    return {name: _top(score, counts[name], units.sets[name].row) for name, score in scores.items()}


def at_random(units: Units, counts: Mapping[str, int], generator: torch.Generator) -> Kept:
    """`counts` units of each set, or N of every M, at random places."""
    kept = {}
    for name, one in units.sets.items():
        if one.row is None:
            kept[name] = torch.zeros(one.size, dtype=torch.bool)
            kept[name][torch.randperm(one.size, generator=generator)[: counts[name]]] = True
        else:
            kept[name] = _top(torch.rand(one.size, generator=generator), counts[name], one.row)
    return kept


def projected(units: Units, tensors: Tensors, density: float) -> Masks:
    """Masks that keep the units of largest norm of these tensors, by parameter name: of the module or like its own."""
    scores = units.pool(tensors)
    if units.structure == "channel":
        sizes = channel_sizes(units.prunable, _groups(units), scores, density)
        return units.spread(largest(units, scores, sizes))
    return units.spread(largest(units, scores, counts_of(units, density)), tensors)


def masks_by_magnitude(module: nn.Module, input_shape: Sequence[int], density: float, structure: str) -> Masks:
    """Masks that keep the units of largest norm: ERK's count of each layer's, or channels ranked over the network."""
    units = structured(module, input_shape, structure)
    return projected(units, dict(module.named_parameters()), density)


def require_reachable(module: nn.Module, input_shape: Sequence[int], density: float, structure: str) -> None:
    """Raises UserError where the module cannot have this density in this structure, before anything is trained.

    For channels the module is tried without those that its present weights rank lowest.
    """
    if structure != "channel":
        counts_of(structured(module, input_shape, structure), density)
        return
    tried = copy.deepcopy(module).cpu()
    masks = masks_by_magnitude(tried, input_shape, density, structure)
    with torch.no_grad():
        for name, parameter in tried.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    shrink(tried, input_shape)


@torch.no_grad()
def as_shipped(module: nn.Module, input_shape: Sequence[int], structure: str) -> nn.Module:
    """What is exported of a trained module: a copy of it, or what is left without its empty channels.

    Masks leave zeros of both signs, which pack worse than zeros of one: here they lose theirs.
    """
    removed = {"channel": shrink, "filter": without_filters}.get(structure)
    shipped = removed(module, input_shape) if removed else copy.deepcopy(module)
    for parameter in shipped.parameters():
        parameter.add_(0.0)
    return shipped


def _channels(module: nn.Module, input_shape: Sequence[int]) -> Units:
    groups = coupled_channels(module, input_shape)
    if not groups:
        raise UserError("--structure channel: this model has no channels that can be removed; use irregular")
    parameters = {name: tuple(value.shape) for name, value in module.named_parameters()}
    sets = {}
    for group in groups:
        slots = [slot for slot in group.slots if slot.name in parameters]
        parts = [part_of(slot, parameters[slot.name], group.channels, reads=slot.dim == 1) for slot in slots]
        root = f"{group.root}.weight" if group.root else "weight"
        sets[root] = UnitSet(group.channels, 0.0, (parameters[root],), tuple(parts), group=group)
    named = {part.name: parameters[part.name] for one in sets.values() for part in one.parts}
    return Units("channel", sets, named, shapes(module))


def _top(score: Tensor, count: int, row: int | None) -> Tensor:
    if row is None:
        return ranking.largest(score, torch.ones_like(score, dtype=torch.bool), count)
    rows = score.view(-1, row)
    order = rows.argsort(dim=1, descending=True, stable=True)[:, : count // len(rows)]
    return torch.zeros_like(rows, dtype=torch.bool).scatter_(1, order, True).view(-1)


def _groups(units: Units) -> dict[str, Group]:
    return {name: one.group for name, one in units.sets.items() if one.group is not None}


def _require_kernels(prunable: Mapping[str, tuple[int, ...]], kernels: int) -> None:
    if not kernels:
        name, shape = next(iter(prunable.items()))
        what = f"a convolution of {'x'.join(map(str, shape[2:]))}" if len(shape) > 2 else "no convolution"
        raise UserError(
            f"--structure pattern is for 3x3 convolutions, of which this model has none ({name} is {what}):"
            " use kernel, column or block:1x4"
        )
