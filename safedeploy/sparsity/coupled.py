"""Which channels of a network live and die together: residual sums, depthwise convolutions and norms couple them."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError, missing_extra

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, eq=False)
class Slot:
    """Where a group's channels are in one tensor of a layer. places: (channels, k) int64, positions along `dim`."""

    layer: str
    tensor: str
    dim: int
    places: Tensor

    @property
    def name(self) -> str:
        """As in `named_parameters` and `named_buffers`."""
        return f"{self.layer}.{self.tensor}" if self.layer else self.tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of which each can only be removed from all slots at once. `root`: a layer that computes them."""

    root: str
    channels: int
    slots: tuple[Slot, ...]


def coupled_channels(module: nn.Module, input_shape: Sequence[int], *, read_last: bool = False) -> list[Group]:
    """The groups of a module's removable channels, by Torch-Pruning's dependency graph (Fang et al. 2023, DepGraph).

    input_shape: without the batch. What the classifier answers and what it reads stays whole (read_last: what it
    answers alone), and so does every group that a layer other than linear, convolution (plain or depthwise), batch norm
    or PReLU takes part in. Raises UserError where the module cannot be followed.
    """
    try:
        import torch_pruning as tp
    except ImportError:
        raise missing_extra("--structure channel", "train") from None

    traced = copy.deepcopy(module).cpu().eval().requires_grad_(True)
    names: dict[Any, str] = {layer: name for name, layer in traced.named_modules()}
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph = tp.DependencyGraph().build_dependency(traced, torch.zeros(1, *input_shape), verbose=False)
            found = list(graph.get_all_groups(root_module_types=[*CONVOLUTIONS, nn.Linear]))
    except Exception as error:  # whatever a user's own forward, or the tracing of it, raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"--structure channel: this model's channels cannot be followed ({reason})") from error
    answering = [[dep.target for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler)] for group in found]
    classifiers = {node.module for nodes in answering if not all(node.outputs for node in nodes) for node in nodes}
    groups = []
    for group in found:
        taking = [dep for dep, _ in group if dep.target.module in classifiers]
        if any(not read_last or graph.is_out_channel_pruning_fn(dep.handler) for dep in taking):
            continue
        slots = _slots(graph, group, names)
        if slots is not None:
            root = group[0].dep.target.module
            groups.append(Group(names[root], len(set(group[0].idxs)), slots))
    return groups


def _slots(graph: Any, group: Any, names: dict[Any, str]) -> tuple[Slot, ...] | None:
    """Every tensor of a group; None where one is of a layer that cannot be cut."""
    slots: list[Slot] = []
    channels = len(set(group[0].idxs))
    for item in group.items:
        layer = item.dep.target.module
        if isinstance(layer, nn.Module) and not list(layer.parameters()) and not list(layer.buffers()):
            continue  # adds, reshapes and activations hold nothing
        places = _places(item.idxs, item.root_idxs, channels)
        if places is None or layer not in names:
            return None
        taken = _tensors(layer, answers=graph.is_out_channel_pruning_fn(item.dep.handler))
        if taken is None:
            return None
        slots.extend(Slot(names[layer], tensor, dim, places) for tensor, dim in taken)
    return tuple(slots)


def _tensors(layer: nn.Module, *, answers: bool) -> list[tuple[str, int]] | None:
    """Tensors of a layer and the axis along which its channels lie: those it answers with, or those it reads."""
    if isinstance(layer, NORMS) or (isinstance(layer, nn.PReLU) and layer.num_parameters > 1):
        return list(_along_first(layer, "weight", "bias", "running_mean", "running_var"))
    if isinstance(layer, CONVOLUTIONS) and layer.groups > 1:
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        return list(_along_first(layer, "weight", "bias")) if depthwise else None
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return list(_along_first(layer, "weight", "bias")) if answers else [("weight", 1)]
    return [] if isinstance(layer, nn.PReLU) else None  # one slope for all channels


def _along_first(layer: nn.Module, *tensors: str) -> Iterator[tuple[str, int]]:
    return ((tensor, 0) for tensor in tensors if getattr(layer, tensor, None) is not None)


def _places(index: Sequence[int], roots: Sequence[int], channels: int) -> Tensor | None:
    """(channels, k): position `index[i]` belongs to channel `roots[i]`; None where channels have unequal shares."""
    of: dict[int, list[int]] = defaultdict(list)
    for place, root in zip(index, roots, strict=True):
        of[root].append(place)
    sizes = {len(places) for places in of.values()}
    if len(of) != channels or len(sizes) != 1:
        return None
    return torch.tensor([of[channel] for channel in range(channels)])
