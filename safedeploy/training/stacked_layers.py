"""The forward pass of K models of one architecture: as batched products where the model is a plain chain of layers,
else through `torch.func.vmap` (functional_call over stacked weights, torch's model ensembling)."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Named = Mapping[str, Tensor]
Forward = Callable[[Tensor], Tensor]  # (K, b, *input_shape) -> logits (K, b, classes)

_ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)


def by_vmap(module: nn.Module, parameters: Named, buffers: Named) -> Forward:
    """Any module of pure tensor operations; running statistics change in place, random draws differ by model."""
    skeleton = copy.deepcopy(module).to("meta").train()

    def one(state: tuple[dict[str, Tensor], dict[str, Tensor]], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(skeleton, state, (x,))
        return logits

    each = vmap(one, randomness="different")
    state = (dict(parameters), dict(buffers))
    return lambda x: each(state, x)


def as_chain(module: nn.Module, parameters: Named) -> Forward | None:
    """Linear layers, flattening and elementwise functions in a row, or None where `module` has anything else.

    Its backward pass writes the weights' gradients over `parameters[name].grad` (which must be there) and adds nothing
    to them: large tensors made anew in every step cost more in memory pages than the product itself.
    """
    layers = chain(module, parameters)
    if layers is None:
        return None
    functions = [_function(f"{prefix}.", layer, parameters) for prefix, layer in layers]

    def forward(x: Tensor) -> Tensor:
        for function in functions:
            x = function(x)
        return x

    return forward


def chain(module: nn.Module, parameters: Named) -> list[tuple[str, nn.Module]] | None:
    """Its layers by name where they are known and in a row and share no weights, else None."""
    layers = list(_leaves(module, ""))
    named = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if len(named) != len(parameters) or any(not _known(layer) for _, layer in layers):
        return None
    return layers


def _leaves(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is not nn.Sequential:
        yield prefix, module
        return
    for name, child in module.named_children():
        yield from _leaves(child, f"{prefix}.{name}" if prefix else name)


def _known(layer: nn.Module) -> bool:
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return type(layer) in (*_ELEMENTWISE, nn.Linear) and not (layer._forward_hooks or layer._forward_pre_hooks)


def _function(prefix: str, layer: nn.Module, parameters: Named) -> Forward:
    if type(layer) is nn.Linear:
        weight, bias = parameters[f"{prefix}weight"], parameters.get(f"{prefix}bias")
        return lambda x: _products(x, weight, bias)
    if type(layer) is nn.Flatten:
        return lambda x: x.flatten(2)
    return copy.deepcopy(layer).train()


def _products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    answers: Tensor = _Products.apply(x.reshape(len(weight), -1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return answers.view(*x.shape[:-1], weight.shape[1])


class _Products(torch.autograd.Function):
    """K linear layers, x (K, b, in) -> (K, b, out); weight (K, out, in) and bias (K, out) get their `grad` replaced."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias = weight, bias  # as they are: a saved tensor comes back without its grad
        answers = torch.bmm(x, weight.transpose(1, 2))
        return answers if bias is None else answers.add_(bias[:, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x,) = gradients, ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        if needs_weight:
            torch.bmm(gradient.transpose(1, 2), x, out=ctx.weight.grad)
        if needs_bias:
            torch.sum(gradient, 1, out=ctx.bias.grad)
        return torch.bmm(gradient, ctx.weight) if needs_x else None, None, None
