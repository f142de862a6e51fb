"""Scales of quantised biases, which are the input's scale times the weight's: one product instead of a stored array."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.export.encoding.tensor import Writer


def write_bias_scales(writer: Writer, graph: onnx.GraphProto, stored: Mapping[str, NDArray[Any]]) -> set[str]:
    """Let `writer` compute each bias's scale where that gives it bit for bit; returns which it does."""
    dequantised = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    done: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            continue
        if not all(name in dequantised for name in node.input):
            continue
        x, weight, bias = (dequantised[name].input[1] for name in node.input)
        if bias in done or bias in (x, weight) or not all(name in stored for name in (x, weight, bias)):
            continue
        product = np.asarray(stored[x] * stored[weight])
        if product.size > 1 and product.dtype == stored[bias].dtype and np.array_equal(product, stored[bias]):
            writer.add("Mul", [x, weight], bias)
            done.add(bias)
    return done
