"""Filters as units: all that computes one output of a layer, and what follows that output alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from safedeploy.artifacts.tokens import takes_tokens
from safedeploy.errors import UserError
from safedeploy.sparsity.coupled import NORMS, Group, coupled_channels
from safedeploy.sparsity.masks import PRUNABLE
from safedeploy.sparsity.units import Part, UnitSet, part_of


@dataclass(frozen=True)
class Followed:
    """answering: the last layer called, whose outputs are the classes. norms: layer -> the batch norm right after."""

    answering: str
    norms: dict[str, str] = field(default_factory=dict)


def filter_sets(module: nn.Module, input_shape: Sequence[int]) -> dict[str, UnitSet]:
    """A set for each layer but the one that answers, by the name of its weight.

    A filter is a row of the weight, its bias, the scale and shift of the batch norm right after it, and the row, bias
    and norm of a depthwise convolution that reads nothing else. A dormant filter is zero in the weights that read it;
    one whose answer is added to others', in its norm, or without one in its row and bias. Raises UserError where the
    module cannot be followed, or has one layer alone.
    """
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, PRUNABLE)}
    followed = follow(module, input_shape)
    named = {name: tuple(value.shape) for name, value in module.named_parameters()}
    alone = _alone(module, input_shape)
    joined = {name for _, names in alone.values() for name in names}
    sets = {}
    for name, layer in layers.items():
        if name != followed.answering and name not in joined:
            group, behind = alone.get(name, (None, []))
            chain = [name, *behind]
            parts = [part for link in chain for part in _parts(module, link, followed.norms.get(link), group is None)]
            readers: tuple[Part, ...] = ()
            if group is not None:
                reading = [slot for slot in group.slots if slot.dim == 1 and slot.name in named]
                readers = tuple(part_of(slot, named[slot.name], group.channels) for slot in reading)
            shapes = tuple(tuple(layers[link].weight.shape) for link in chain)
            size = layer.weight.shape[_axis(layer)]
            cost = sum(math.prod(shape) for shape in shapes) / size
            sets[f"{name}.weight" if name else "weight"] = UnitSet(size, cost, shapes, tuple(parts), readers)
    if not sets:
        raise UserError("--structure filter: the only layer answers with the classes, all of which stay; use column")
    return sets


def follow(module: nn.Module, input_shape: Sequence[int]) -> Followed:
    """One forward pass of zeros. Raises UserError where the module does not take such an input."""
    called: list[str] = []
    answers: dict[int, tuple[str, Tensor]] = {}  # kept, so that no other tensor gets the identity
    norms: dict[str, str] = {}

    def after(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, NORMS):
            before = answers.get(id(inputs[0])) if inputs else None
            if before and layer.affine:
                norms[before[0]] = name
        else:
            called.append(name)
            answers[id(output)] = (name, output)

    handles = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: after(name, layer, inputs, output))
        for name, layer in module.named_modules()
        if isinstance(layer, (*PRUNABLE, *NORMS))
    ]
    parameter, training = next(module.parameters()), module.training
    x = torch.zeros(1, *input_shape, device=parameter.device, dtype=torch.long if takes_tokens(module) else None)
    try:
        with torch.no_grad():
            module.eval()(x)
    except Exception as error:  # whatever a user's own forward raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"--structure filter: this model's filters cannot be followed ({reason})") from error
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return Followed(called[-1], norms) if called else Followed("")


def _parts(module: nn.Module, name: str, norm: str | None, dormant: bool) -> list[Part]:
    """Of one layer and the norm after it; dormant: a dormant filter is zero at the last of them."""
    layer = module.get_submodule(name)
    shape, axis = tuple(dict(layer.named_parameters())["weight"].shape), _axis(layer)
    size = shape[axis]
    extents = [size if place == axis else 1 for place in range(len(shape))]
    index = torch.arange(size)
    own = f"{name}." if name else ""
    parts = [Part(f"{own}weight", index.view(extents), reads=dormant and norm is None)]
    if getattr(layer, "bias", None) is not None:
        parts.append(Part(f"{own}bias", index, reads=dormant and norm is None))
    if norm is not None:
        parts += [Part(f"{norm}.weight", index, reads=dormant), Part(f"{norm}.bias", index, reads=dormant)]
    return parts


def _axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, nn.Embedding) else 0


def _alone(module: nn.Module, input_shape: Sequence[int]) -> dict[str, tuple[Group, list[str]]]:
    """Layers that alone compute a group of channels: the group, and depthwise convolutions in it, in order."""
    try:
        groups = coupled_channels(module, input_shape, read_last=True)
    except UserError:
        return {}  # it can have filters all the same; none is removed
    alone = {}
    for group in groups:
        writing = [slot for slot in group.slots if slot.tensor == "weight" and slot.dim == 0]
        layers = list(dict.fromkeys(slot.layer for slot in writing))
        layers = [name for name in layers if isinstance(module.get_submodule(name), PRUNABLE)]
        plain = [name for name in layers if getattr(module.get_submodule(name), "groups", 1) == 1]
        if len(plain) == 1 and all(slot.places.shape[1] == 1 for slot in writing):
            alone[plain[0]] = (group, [name for name in layers if name != plain[0]])
    return alone
