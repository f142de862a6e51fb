"""Activation functions and what is none at inference, Dropout."""

import torch
from torch import Tensor
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import.registry import Node, operator


@operator("Relu")
def relu(_: Node, x: Tensor) -> Tensor:
    return functional.relu(x)


@operator("Sigmoid")
def sigmoid(_: Node, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, node.get("alpha", 0.01))


@operator("PRelu")
def prelu(_: Node, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(node: Node, x: Tensor) -> Tensor:
    return functional.elu(x, node.get("alpha", 1.0))


@operator("Celu")
def celu(node: Node, x: Tensor) -> Tensor:
    return functional.celu(x, node.get("alpha", 1.0))


@operator("Selu")
def selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    scaled: Tensor = functional.elu(x, alpha) * gamma
    return scaled


@operator("Gelu")
def gelu(node: Node, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=node.get("approximate", "none"))


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    answer: Tensor = (x * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0, 1)
    return answer


@operator("HardSwish")
def hard_swish(_: Node, x: Tensor) -> Tensor:
    return functional.hardswish(x)


@operator("Mish")
def mish(_: Node, x: Tensor) -> Tensor:
    return functional.mish(x)


@operator("Swish")
def swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(x * node.get("alpha", 1.0))


@operator("Softplus")
def softplus(_: Node, x: Tensor) -> Tensor:
    return functional.softplus(x)


@operator("Softsign")
def softsign(_: Node, x: Tensor) -> Tensor:
    return functional.softsign(x)


@operator("Shrink")
def shrink(node: Node, x: Tensor) -> Tensor:
    bias, lambd = node.get("bias", 0.0), node.get("lambd", 0.5)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node.get("alpha", 1.0), x, torch.zeros_like(x))


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node, x: Tensor) -> Tensor:
    """Before opset 13 the axes from `axis` (default 1) on are one, flattened."""
    shape, axis = x.shape, node.get("axis", -1 if node.opset >= 13 else 1)
    if node.opset < 13:
        x = x.flatten(axis % len(shape)) if axis % len(shape) else x.reshape(1, -1)
        x, axis = x.reshape(-1, x.shape[-1]), 1
    if node.operator == "Softmax":
        answer = x.softmax(axis)
    elif node.operator == "LogSoftmax":
        answer = x.log_softmax(axis)
    else:
        answer = torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)
    return answer.reshape(shape)


@operator("Dropout")
def dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    if training is not None and bool(training) and (ratio is None or float(ratio)):
        raise Unopenable("Dropout is in training mode")
    return (x, torch.ones_like(x, dtype=torch.bool)) if len(node.outputs) > 1 else x
