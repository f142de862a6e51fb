"""What a quantised (QDQ) file stores though the rest of it says it: scales of biases, and their zero points.

A bias is quantised in steps of input scale · weight scale, one a channel: as many bytes as the weights' scales, and as
many again are its zero points, all zero, which is what an absent one means too. Of MobileNetV2 at density 0.02 both are
a quarter of the encoded file. Weights keep their zero points: without one, ONNX Runtime 1.31 leaves a Gemm in float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

LAYERS = {"Conv", "ConvTranspose", "Gemm"}
WORTH_WHILE = 64  # bytes of scales; below, the operator that multiplies them takes as many


def drop_derived(model: onnx.ModelProto, fresh: Callable[[], str]) -> None:
    """In place: a bias' scales become a product of constants where that is bit for bit the same, its zero points go.

    fresh: gives names that are not used yet. What is no longer read is no longer stored.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    products = []
    for layer in graph.node:
        sources = [producers.get(name) for name in layer.input]
        if layer.op_type not in LAYERS or len(sources) < 3:
            continue
        if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            continue
        scales = [source.input[1] for source in sources if source is not None]
        bias = sources[2]
        assert bias is not None
        if _is_product(*(constants.get(name) for name in scales)):
            bias.input[1] = fresh()
            products.append(helper.make_node("Mul", scales[:2], [bias.input[1]]))
        if len(bias.input) > 2 and not constants.get(bias.input[2], np.ones(1)).any():
            del bias.input[2:]
    nodes = [*products, *graph.node]
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    stored = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(stored)


def _is_product(first: NDArray[Any] | None, second: NDArray[Any] | None, scale: NDArray[Any] | None) -> bool:
    if first is None or second is None or scale is None or scale.nbytes < WORTH_WHILE:
        return False
    product = first * second
    return bool(product.shape == scale.shape and product.dtype == scale.dtype and np.array_equal(product, scale))
