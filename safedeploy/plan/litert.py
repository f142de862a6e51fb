"""Whether a network fits XNNPACK's sparse path, which of the stock runtimes LiteRT alone opens.

The rules are those of google/XNNPACK src/subgraph.c (xnn_check_nchw_compatibility, xnn_subgraph_rewrite_for_nchw) and
of the 'Sparse Inference' section of tensorflow/lite/delegates/xnnpack/README.md. Convolutions alone are checked here:
between them only additions, multiplications, resizes and activations may stand, and a mean must end them.
"""

from collections.abc import Mapping, Sequence

from safedeploy.plan.layers import Layer
from safedeploy.plan.rules import kind_of

ENOUGH_ZEROS = 2 / 3  # of the 1×1 convolutions' weights; at or below it the network runs dense


def closed_because(layers: Sequence[Layer], kept: Mapping[str, int]) -> str:
    """Why this network cannot run sparse in LiteRT, or an empty string where its convolutions fit.

    kept: weights that are not zero, by layer.
    """
    convolutions = [layer for layer in layers if layer.kernel]
    pointwise = [layer for layer in convolutions if kind_of(layer) == "convolution 1×1"]
    if not pointwise:
        return "it has no 1×1 convolution, the only kind with a sparse kernel"
    stem, *rest = convolutions
    for layer in rest:
        if not (_is_pointwise(layer) or _is_depthwise(layer)):
            return f"{layer.name} is a {_said(layer)}, not 1×1 with stride 1 nor depthwise 3×3 or 5×5"
    if not _is_stem(stem):
        return f"its first convolution is {_said(stem)}; it must be 3×3 with stride 2, padding 1 and 3 channels in"
    zeros = 1 - sum(kept[layer.name] for layer in pointwise) / sum(layer.weights for layer in pointwise)
    if zeros <= ENOUGH_ZEROS:
        return f"its 1×1 convolutions have {zeros:.0%} zeros, and more than two thirds are asked"
    return ""


def _is_stem(layer: Layer) -> bool:
    return (
        (layer.kernel, layer.stride, layer.padding, layer.groups) == ((3, 3), (2, 2), (1, 1), 1)
        and layer.inputs == 3
        and set(layer.dilation) == {1}
    )


def _is_pointwise(layer: Layer) -> bool:
    return (layer.kernel, layer.stride, layer.padding, layer.groups) == ((1, 1), (1, 1), (0, 0), 1)


def _is_depthwise(layer: Layer) -> bool:
    size = layer.kernel[0]
    return (
        layer.kind == "depthwise"
        and layer.kernel in ((3, 3), (5, 5))
        and layer.stride in ((1, 1), (2, 2))
        and layer.padding == (size // 2, size // 2)
        and layer.outputs == layer.inputs
        and set(layer.dilation) == {1}
    )


def _said(layer: Layer) -> str:
    return f"{layer.title}, stride {layer.stride[0]}, {layer.inputs} channels in"
