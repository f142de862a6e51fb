"""Loss and gradients of K chains of linear layers, ReLU and tanh, written out: as autograd has them, to rounding,
without its bookkeeping and in memory that is kept from step to step, which is a fifth of a small network's step."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from safedeploy.training.stacked_layers import Named, chain

Gradients = Callable[[Tensor, Tensor], Tensor]
Layer = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]  # forward, backward


def gradients(module: nn.Module, parameters: Named) -> Gradients | None:
    """A function of x (K, b, *input_shape) and labels (K, b), or probabilities (K, b, classes), to the models' mean
    cross-entropies (K,), or None.

    It writes the gradients over `parameters[name].grad` (which must be there). None where `module` has other layers,
    shared or frozen weights.
    """
    layers = chain(module, parameters)
    if layers is None or not all(weights.requires_grad for weights in parameters.values()):
        return None
    if not all(type(layer) in (nn.Linear, nn.Flatten, nn.Identity, nn.ReLU, nn.Tanh) for _, layer in layers):
        return None
    first = next((k for k, (_, layer) in enumerate(layers) if type(layer) is nn.Linear), None)
    made = [_layer(layer, f"{name}.", parameters, k == first) for k, (name, layer) in enumerate(layers)]

    @torch.no_grad()
    def losses(x: Tensor, y: Tensor) -> Tensor:
        for forward, _ in made:
            x = forward(x)
        log_p = x.log_softmax(2)
        if y.is_floating_point():
            found, wanted = -(log_p * y).sum(2).mean(1), y
        else:
            found = -log_p.gather(2, y[:, :, None])[:, :, 0].mean(1)
            wanted = (y[:, :, None] == torch.arange(x.shape[2], device=y.device)).to(x.dtype)
        gradient = log_p.exp_().sub_(wanted).div_(y.shape[1])
        for _, backward in reversed(made[first:]):
            gradient = backward(gradient)
        return found

    return losses


def _layer(layer: nn.Module, prefix: str, parameters: Named, first: bool) -> Layer:
    match layer:
        case nn.Linear():
            return _linear(parameters[f"{prefix}weight"], parameters.get(f"{prefix}bias"), first)
        case nn.ReLU():
            return _elementwise(partial(torch.clamp_min, min=0), lambda gradient, y: gradient.mul_(y > 0))
        case nn.Tanh():
            return _elementwise(torch.tanh, lambda gradient, y: gradient.mul_(1 - y * y))
        case nn.Flatten():
            return _flatten()
    return lambda x: x, lambda gradient: gradient


def _flatten() -> Layer:
    shape = torch.Size()

    def forward(x: Tensor) -> Tensor:
        nonlocal shape
        shape = x.shape
        return x.flatten(2)

    return forward, lambda gradient: gradient.view(shape)


def _elementwise(function: Callable[..., Tensor], slope: Callable[[Tensor, Tensor], Tensor]) -> Layer:
    answers = torch.empty(0)

    def forward(x: Tensor) -> Tensor:
        nonlocal answers
        answers = function(x, out=_fitting(answers, x, x.shape))
        return answers

    return forward, lambda gradient: slope(gradient, answers)


def _linear(weight: Tensor, bias: Tensor | None, first: bool) -> Layer:
    """first: nothing before it learns, so the gradient of its input is not made."""
    inputs = answers = before = torch.empty(0)
    models, outputs, width = weight.shape

    def forward(x: Tensor) -> Tensor:
        nonlocal inputs, answers
        inputs = x.reshape(models, -1, width)
        answers = _fitting(answers, x, (*inputs.shape[:2], outputs))
        torch.bmm(inputs, weight.transpose(1, 2), out=answers)
        return (answers if bias is None else answers.add_(bias[:, None])).view(*x.shape[:-1], outputs)

    def backward(gradient: Tensor) -> Tensor:
        nonlocal before
        flat = gradient.reshape(models, -1, outputs)
        torch.bmm(flat.transpose(1, 2), inputs, out=weight.grad)
        if bias is not None:
            torch.sum(flat, 1, out=bias.grad)
        if first:
            return gradient
        before = _fitting(before, inputs, inputs.shape)
        return torch.bmm(flat, weight, out=before).view(*gradient.shape[:-1], width)

    return forward, backward


def _fitting(kept: Tensor, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`kept`, or a new one where its shape or device is another."""
    return kept if kept.shape == shape and kept.device == like.device else like.new_empty(shape)
