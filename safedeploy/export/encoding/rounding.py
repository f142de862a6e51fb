"""The lossy step before the codes: a float32 ONNX file whose weights have rounded values."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from safedeploy.export.encoding.values import Rounding, round_values
from safedeploy.rundir import write_bytes

OUTPUT_FIRST = {"Conv": 0, "Gemm": 0, "ConvTranspose": 1}  # the axis of a weight's output channels; the last elsewhere
SMALLEST = 64  # numbers of a weight that is rounded


def round_file(source: Path, path: Path, how: Rounding) -> None:
    """Write `source` to `path`, the float32 weights of its layers rounded; biases and all else as they are."""
    model = onnx.load(source)
    axes = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and len(node.input) > 1:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            plain = node.op_type == "Gemm" and not transposed
            axes[node.input[1]] = -1 if plain else OUTPUT_FIRST.get(node.op_type, -1)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in axes and value.dtype == np.float32 and value.size >= SMALLEST:
            tensor.CopyFrom(numpy_helper.from_array(round_values(value, how, axis=axes[tensor.name]), tensor.name))
    write_bytes(path, model.SerializeToString(deterministic=True))
