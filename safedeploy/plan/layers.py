"""The layers of a model that carry prunable weights: kind, shape, and multiply-accumulates for one input."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safedeploy.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A layer by its parameter's name. `kind`: 'convolution', 'depthwise', 'linear' or 'embedding'.

    `shape` is the weight's, `output` one input's answer without the batch; `macs` multiply-accumulates for one input.
    `kernel`, `stride` and `padding` are of convolutions, else empty. `outputs`: channels or units, each with a bias.
    """

    name: str
    kind: str
    shape: Shape
    output: Shape
    macs: int
    outputs: int
    kernel: Shape = ()
    stride: Shape = ()
    padding: Shape = ()
    dilation: Shape = ()
    groups: int = 1
    inputs: int = 0

    @property
    def weights(self) -> int:
        return math.prod(self.shape)

    @property
    def title(self) -> str:
        """As a person says it: 3×3 convolution, 3×3 depthwise, linear."""
        return f"{'×'.join(map(str, self.kernel))} {self.kind}" if self.kernel else self.kind


def layers_of(module: "nn.Module", input_shape: Shape, model_name: str) -> list[Layer]:
    """The prunable layers in the order of the module, measured by one zero input of `input_shape`.

    A layer that is called several times counts each time; one that is never called has no output and no work.
    Raises UserError where the module cannot take such an input, or has no prunable layer.
    """
    import torch

    from safedeploy.sparsity.masks import PRUNABLE

    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, PRUNABLE)}
    if not found:
        raise UserError(f"--model {model_name} has no linear, convolution or embedding layer: there is nothing to plan")
    seen = {name: described(f"{name}.weight" if name else "weight", layer) for name, layer in found.items()}
    hooks = [layer.register_forward_hook(_noting(seen, name)) for name, layer in found.items()]
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape))
    except Exception as error:  # whatever a user's own forward raises
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        shown = "x".join(map(str, input_shape))
        raise UserError(f"--input {shown} does not fit {model_name}: {why}") from error
    finally:
        for hook in hooks:
            hook.remove()
        module.train(training)
    return list(seen.values())


def described(name: str, layer: Any) -> Layer:
    """A layer before it was called: `layer` is one of the prunable kinds."""
    shape = tuple(layer.weight.shape)
    if not hasattr(layer, "kernel_size"):
        embedding = hasattr(layer, "num_embeddings")
        outputs = 0 if embedding else shape[0]
        return Layer(name, "embedding" if embedding else "linear", shape, (), 0, outputs, inputs=shape[-1])
    each = layer.in_channels // layer.groups
    padding = () if isinstance(layer.padding, str) else tuple(layer.padding)
    return Layer(
        name,
        "depthwise" if each == 1 and layer.groups > 1 else "convolution",
        shape,
        (),
        0,
        layer.out_channels,
        kernel=tuple(layer.kernel_size),
        stride=tuple(layer.stride),
        padding=padding,
        dilation=tuple(layer.dilation),
        groups=layer.groups,
        inputs=layer.in_channels,
    )


def _noting(seen: dict[str, Layer], name: str) -> Callable[..., None]:
    def note(layer: "nn.Module", given: tuple[Any, ...], answer: "torch.Tensor") -> None:
        before, output = seen[name], tuple(answer.shape[1:])
        if before.kind == "embedding":
            macs = 0
        elif before.kind == "linear":
            macs = before.weights * math.prod(output[:-1])
        else:
            macs = before.weights * math.prod(output[1:])
        seen[name] = replace(before, output=output, macs=before.macs + macs)

    return note


def other_values(module: "nn.Module", layers: list[Layer]) -> int:
    """Numbers beside the prunable weights that a file holds: one bias an output, and what belongs to no such layer.

    A batch norm is folded into the layer before it by the exporters, so its four vectors become that layer's bias.
    """
    from torch import nn

    from safedeploy.sparsity.masks import PRUNABLE

    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    loose = sum(
        parameter.numel()
        for part in module.modules()
        if not isinstance(part, (*PRUNABLE, *norms))
        for parameter in part.parameters(recurse=False)
    )
    return loose + sum(layer.outputs for layer in layers)
