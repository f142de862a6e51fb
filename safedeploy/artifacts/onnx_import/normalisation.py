"""Normalisation as it is at inference."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator


@operator("BatchNormalization")
def batch_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if node.get("training_mode", 0) or (node.opset < 7 and not node.get("is_test", 0)):
        raise Unopenable("BatchNormalization is in training mode")
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


@operator("GroupNormalization")
def group_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Scale and bias are one a group in opset 18, one a channel from 21 on."""
    groups = node.get("num_groups")
    if scale.numel() != x.shape[1]:
        scale, bias = (part.repeat_interleave(x.shape[1] // groups) for part in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


@operator("LayerNormalization")
def layer_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    axis, epsilon = node.get("axis", -1) % x.ndim, node.get("epsilon", 1e-5)
    along = list(range(axis, x.ndim))
    mean = x.mean(along, keepdim=True)
    inverse = (x.var(along, correction=0, keepdim=True) + epsilon).rsqrt()
    answer = (x - mean) * inverse * scale
    answer = answer if bias is None else answer + bias
    return (answer, mean, inverse) if len(node.outputs) > 1 else answer


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    along = list(range(node.get("axis", -1) % x.ndim, x.ndim))
    inverse: Tensor = (x.square().mean(along, keepdim=True) + node.get("epsilon", 1e-5)).rsqrt()
    return x * inverse * scale


@operator("LRN")
def local_response(node: Node, x: Tensor) -> Tensor:
    """Sums of squares over `size` channels; torch's own form takes an even size differently."""
    size, alpha, beta = node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75)
    before, after = math.floor((size - 1) / 2), math.ceil((size - 1) / 2)
    flat = x.square().flatten(2).movedim(1, -1)
    sums = functional.pad(flat, (before, after)).unfold(-1, size, 1).sum(-1).movedim(-1, 1).reshape(x.shape)
    divisor: Tensor = (node.get("bias", 1.0) + alpha / size * sums).pow(beta)
    return x / divisor


@operator("LpNormalization")
def lp_normalization(node: Node, x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, node.get("p", 2), node.get("axis", -1), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


@operator("MeanVarianceNormalization")
def mean_variance(node: Node, x: Tensor) -> Tensor:
    along = list(node.get("axes", (0, 2, 3)))
    mean = x.mean(along, keepdim=True)
    return (x - mean) / (x.square().mean(along, keepdim=True) - mean.square() + 1e-9).sqrt()
