"""A module without its dead channels: those of which every weight is zero, taken out of every tensor."""

import copy
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.sparsity.coupled import CONVOLUTIONS, NORMS, Group, coupled_channels

CLOSE = 1e-4  # of the largest logit, or of 1 where that is less
TRIED = 8  # random inputs on which the smaller module must answer as the given one


def shrink(module: nn.Module, input_shape: Sequence[int], *, read_last: bool = False) -> nn.Module:
    """A smaller module with the answers of `module` in evaluation mode, on the CPU; the given one is not changed.

    A channel goes where the weights, biases and norms that go with it are all zero, as channel masks leave them; a
    group without any other keeps one. input_shape: without the batch. read_last: as of `coupled_channels`. Raises
    UserError where the smaller module does not answer alike, as when a forward holds a layer's width as a number.
    """
    smaller = copy.deepcopy(module).cpu().eval()
    removed: dict[tuple[str, str, int], list[Tensor]] = defaultdict(list)
    for group in coupled_channels(smaller, input_shape, read_last=read_last):
        gone = _dead(smaller, group)
        for slot in group.slots:
            removed[slot.layer, slot.tensor, slot.dim].append(slot.places[gone].flatten())
    for (layer, tensor, dim), places in removed.items():
        _cut(smaller.get_submodule(layer), tensor, dim, torch.cat(places))
    _require_alike(module, smaller, input_shape)
    return smaller


def without_filters(module: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    """As `shrink`, of a module with empty filters: what reads nothing but them goes too.

    A filter stays, with its zeros, where another that is added to it does, and where an activation answers it with
    something else than zero. A module that cannot be followed is copied whole.
    """
    try:
        groups = coupled_channels(module, input_shape, read_last=True)
        emptied = copy.deepcopy(module).cpu().eval()
        _empty_readers(emptied, groups)
        if not _alike(module, emptied, input_shape):
            emptied = copy.deepcopy(module).cpu().eval()
            for group in groups:
                tried = copy.deepcopy(emptied)
                _empty_readers(tried, [group])
                emptied = tried if _alike(module, tried, input_shape) else emptied
        return shrink(emptied, input_shape, read_last=True)
    except UserError:
        return copy.deepcopy(module).cpu().eval()


@torch.no_grad()
def _empty_readers(module: nn.Module, groups: Sequence[Group]) -> None:
    """Set to zero the weights that read channels which are computed with nothing but zeros."""
    parameters = dict(module.named_parameters())
    for group in groups:
        written = torch.zeros(group.channels, dtype=torch.bool)
        slots = [slot for slot in group.slots if slot.name in parameters]
        for slot in slots:
            if slot.dim == 0:
                along = (parameters[slot.name].reshape(len(parameters[slot.name]), -1) != 0).any(dim=1)
                written |= along[slot.places].any(dim=1)
        for slot in slots:
            if slot.dim == 1:
                parameters[slot.name].index_fill_(1, slot.places[~written].flatten(), 0)


def _dead(module: nn.Module, group: Group) -> Tensor:
    """Which channels (k,) have no weight that is not zero; never all."""
    parameters = dict(module.named_parameters())
    alive = torch.zeros(group.channels, dtype=torch.bool)
    for slot in group.slots:
        if slot.name in parameters:
            value = parameters[slot.name].detach().movedim(slot.dim, 0)
            along = (value.reshape(len(value), -1) != 0).any(dim=1)
            alive |= along[slot.places].any(dim=1)
    if not alive.any():
        alive[0] = True
    return (~alive).nonzero().flatten()


@torch.no_grad()
def _cut(layer: nn.Module, tensor: str, dim: int, places: Tensor) -> None:
    """Take positions along `dim` out of a layer's parameter or buffer, and tell the layer its new size."""
    value = getattr(layer, tensor)
    stay = torch.ones(value.shape[dim], dtype=torch.bool)
    stay[places] = False
    left = value.detach().index_select(dim, stay.nonzero().flatten())
    setattr(layer, tensor, nn.Parameter(left, value.requires_grad) if isinstance(value, nn.Parameter) else left)
    size = left.shape[dim]
    if isinstance(layer, NORMS):
        layer.num_features = size
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = size
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, CONVOLUTIONS) and layer.groups > 1:
        layer.groups = layer.in_channels = layer.out_channels = size
    elif isinstance(layer, CONVOLUTIONS):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]


def _require_alike(module: nn.Module, smaller: nn.Module, input_shape: Sequence[int]) -> None:
    try:
        difference = _difference(module, smaller, input_shape)
    except Exception as error:  # whatever a user's own forward raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"--structure channel: without its empty channels this model fails ({reason})") from error
    if not difference <= CLOSE:
        raise UserError(
            f"--structure channel: without its empty channels this model answers differently (by {difference:.2g});"
            " use irregular"
        )


def _alike(module: nn.Module, other: nn.Module, input_shape: Sequence[int]) -> bool:
    return _difference(module, other, input_shape) <= CLOSE


@torch.no_grad()
def _difference(module: nn.Module, other: nn.Module, input_shape: Sequence[int]) -> float:
    """On random inputs, in units of the largest logit, or of 1 where that is less."""
    x = torch.randn(TRIED, *input_shape, generator=torch.Generator().manual_seed(0))
    wanted = copy.deepcopy(module).cpu().eval()(x)
    return float((other(x) - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))
