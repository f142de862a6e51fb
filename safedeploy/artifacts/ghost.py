"""Per-sample gradient norms of one layer out of its inputs and its outputs' gradients, without the gradients.

Goodfellow 2015 (arXiv:1510.01799) for a linear layer on vectors; Rochette et al. 2019 (arXiv:1912.06015) and Li et al.
2021 (arXiv:2110.05679, section 4) for convolutions and sequences.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.affine import Scale, Shift

Call = tuple[Tensor, Tensor]  # a layer's input and its output's gradient; the first axis of each holds n samples
Norm = Callable[[Any, Sequence[Call], int], Tensor]
UNFOLDED = 8_000_000  # elements of a convolution's windows at once


def squared_norms(layer: nn.Module, calls: Sequence[Call], n: int) -> Tensor:
    """(n,) float64: the squared norm of each sample's gradient of `layer`'s parameters, over all its calls together."""
    norm = norm_of(layer)
    assert norm is not None
    return norm(layer, calls, n).clamp(min=0)


def norm_of(layer: nn.Module) -> Norm | None:
    """How `squared_norms` does it, or None for a layer that only automatic differentiation knows."""
    own = {name for name, _ in layer.named_parameters(recurse=False)}
    for known, norm in NORMS.items():
        if isinstance(layer, known) and type(layer).forward is known.forward and own <= {"weight", "bias"}:
            return norm
    return None


def _linear(layer: nn.Linear, calls: Sequence[Call], n: int) -> Tensor:
    inputs = torch.cat([x.reshape(n, -1, layer.in_features).float() for x, _ in calls], dim=1)
    gradients = _cat_rows(calls, n, layer.out_features)
    total = torch.zeros(n, dtype=torch.float64, device=gradients.device)
    if layer._parameters.get("weight") is not None:
        total += outer_norms(inputs.transpose(1, 2), gradients.transpose(1, 2))
    if layer._parameters.get("bias") is not None:
        total += _square(gradients.sum(1))
    return total


def outer_norms(inputs: Tensor, gradients: Tensor) -> Tensor:
    """‖Σ_t g_t a_tᵀ‖² for inputs a (n, d, t) and gradients g (n, e, t), (n,) float64, by the cheaper of two forms.

    Either the product itself, d · e · t, or Σ_{t,s} (a_t·a_s)(g_t·g_s), (d + e) · t².
    """
    d, e, t = inputs.shape[1], gradients.shape[1], inputs.shape[2]
    if t == 1:
        return _square(inputs.flatten(1)) * _square(gradients.flatten(1))
    if (d + e) * t < d * e:
        return ((inputs.transpose(1, 2) @ inputs) * (gradients.transpose(1, 2) @ gradients)).sum(
            (1, 2), dtype=torch.float64
        )
    return _square((gradients @ inputs.transpose(1, 2)).flatten(1))


def _convolution(layer: Any, calls: Sequence[Call], n: int) -> Tensor:
    groups, kernel = layer.groups, layer.weight[0, 0].numel()
    gradients = [_group_rows(g.float(), n, groups) for _, g in calls]
    total = torch.zeros(n, dtype=torch.float64, device=gradients[0].device)
    if layer._parameters.get("bias") is not None:
        total += _square(_joined(gradients).sum(-1).flatten(1))
    if layer._parameters.get("weight") is None:
        return total
    if layer.in_channels == layer.out_channels == groups:
        return total + _depthwise(layer, calls, n)
    places = sum(g.shape[-1] for g in gradients)
    at_once = max(1, UNFOLDED // max(1, places * layer.in_channels * kernel))
    for start in range(0, n, at_once):
        rows = slice(start, min(start + at_once, n))
        count = rows.stop - rows.start
        columns = []
        for x, _ in calls:
            each = len(x) // n
            part = _windows(layer, x[rows.start * each : rows.stop * each].float())
            columns.append(_group_rows(part, count, groups))
        found = outer_norms(_joined(columns).flatten(0, 1), _joined([g[rows] for g in gradients]).flatten(0, 1))
        total[rows] += found.reshape(count, groups).sum(1)
    return total


def _depthwise(layer: Any, calls: Sequence[Call], n: int) -> Tensor:
    """One channel a group: the gradient of each element of the kernel is one sum over the places."""
    total = torch.zeros(n, dtype=torch.float64, device=calls[0][1].device)
    inputs = [_padded(layer, x.float()) for x, _ in calls]
    for corner in itertools.product(*(range(size) for size in layer.kernel_size)):
        sums: Tensor | float = 0.0
        for x, (_, g) in zip(inputs, calls, strict=True):
            seen = x
            for axis, (at, step, stride) in enumerate(zip(corner, layer.dilation, layer.stride, strict=True)):
                reach = stride * (g.shape[2 + axis] - 1) + 1
                seen = seen.narrow(2 + axis, at * step, reach)[
                    (slice(None),) * (2 + axis) + (slice(None, None, stride),)
                ]
            sums = sums + (seen * g.float()).reshape(n, len(g) // n, layer.in_channels, -1).sum((1, 3))
        assert isinstance(sums, Tensor)
        total += _square(sums)
    return total


def _padded(layer: Any, x: Tensor) -> Tensor:
    if not any(layer._reversed_padding_repeated_twice):
        return x
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


def _windows(layer: Any, x: Tensor) -> Tensor:
    """(n, channels · kernel, places): what each place of the output sees."""
    x = _padded(layer, x)
    axes = len(layer.kernel_size)
    if all(size == 1 for size in layer.kernel_size):
        return x[(slice(None), slice(None), *(slice(None, None, stride) for stride in layer.stride))].flatten(2)
    if axes == 2:
        return functional.unfold(x, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
    for axis, (size, step, stride) in enumerate(zip(layer.kernel_size, layer.dilation, layer.stride, strict=True)):
        x = x.unfold(2 + axis, step * (size - 1) + 1, stride)
    for axis, step in enumerate(layer.dilation):
        x = x[(slice(None),) * (2 + axes + axis) + (slice(None, None, step),)]
    # (n, channels, *places, *kernel) to (n, channels, kernel, places)
    return x.flatten(2 + axes).flatten(2, 1 + axes).transpose(2, 3).flatten(1, 2)


def _group_rows(values: Tensor, n: int, groups: int) -> Tensor:
    """(n · r, channels, …) to (n, groups, channels / groups, r · places)."""
    parts = values.reshape(n, len(values) // n, groups, values.shape[1] // groups, -1)
    return parts.permute(0, 2, 3, 1, 4).flatten(3)


def _embedding(layer: nn.Embedding, calls: Sequence[Call], n: int) -> Tensor:
    """Places that look up the same row add their gradients."""
    indices = torch.cat([x.reshape(n, -1) for x, _ in calls], dim=1)
    gradients = _cat_rows(calls, n, layer.embedding_dim)
    if layer.padding_idx is not None:
        gradients = gradients * (indices != layer.padding_idx)[..., None]
    same = indices[:, :, None] == indices[:, None, :]
    return ((gradients @ gradients.transpose(1, 2)) * same).sum((1, 2), dtype=torch.float64)


def _cat_rows(calls: Sequence[Call], n: int, width: int) -> Tensor:
    return torch.cat([g.reshape(n, -1, width).float() for _, g in calls], dim=1)


def _normalisation(plain: Callable[[Any, Tensor], Tensor], *, last: bool) -> Norm:
    """weight · plain(x) + bias: weight and bias belong to the channels (axis 1), or to the `last` axes."""

    def norms(layer: Any, calls: Sequence[Call], n: int) -> Tensor:
        wanted = next(layer.parameters(recurse=False)).shape
        total = torch.zeros(n, dtype=torch.float64, device=calls[0][1].device)
        for name in ("weight", "bias"):
            if layer._parameters.get(name) is None:
                continue
            sums: Tensor | float = 0.0
            for x, g in calls:
                product = g.float() * plain(layer, x.float()) if name == "weight" else g.float()
                if last:
                    sums = sums + product.reshape(n, -1, *wanted).sum(1)
                else:
                    sums = sums + product.reshape(n, len(product) // n, wanted[0], -1).sum((1, 3))
            assert isinstance(sums, Tensor)
            total += _square(sums.flatten(1))
        return total

    return norms


def _elementwise(layer: nn.Module, calls: Sequence[Call], n: int) -> Tensor:
    """A weight that multiplies, or a bias that adds, under broadcasting."""
    total = torch.zeros(n, dtype=torch.float64, device=calls[0][1].device)
    for name, parameter in layer.named_parameters(recurse=False):
        sums: Tensor | float = 0.0
        for x, g in calls:
            product = (g * x if name == "weight" else g).float()
            shape = [1] * (product.ndim - parameter.ndim) + list(parameter.shape)
            along = [axis for axis in range(1, product.ndim) if shape[axis] == 1]
            product = product.sum(along, keepdim=True) if along else product
            sums = sums + product.reshape(n, -1, *product.shape[1:]).sum(1)
        assert isinstance(sums, Tensor)
        total += _square(sums.flatten(1))
    return total


def _square(values: Tensor) -> Tensor:
    return values.square().sum(1, dtype=torch.float64)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)


def _layer_plain(layer: Any, x: Tensor) -> Tensor:
    return functional.layer_norm(x, layer.normalized_shape, None, None, layer.eps)


def _group_plain(layer: Any, x: Tensor) -> Tensor:
    return functional.group_norm(x, layer.num_groups, None, None, layer.eps)


def _batch_plain(layer: Any, x: Tensor) -> Tensor:
    return functional.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)


NORMS: dict[type[nn.Module], Norm] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Embedding: _embedding,
    nn.modules.batchnorm._BatchNorm: _normalisation(_batch_plain, last=False),
    nn.LayerNorm: _normalisation(_layer_plain, last=True),
    nn.GroupNorm: _normalisation(_group_plain, last=False),
    Scale: _elementwise,
    Shift: _elementwise,
}
