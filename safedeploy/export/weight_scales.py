"""Scales of int8 weights with few significant bits: the channels of a layer then share a few, which take few bits.

As found, a scale is 32 bits of which 24 look random, one for each output channel: a fifth of MobileNetV2's encoded file
at density 0.05. Rounded up, a step is at most 1/16 coarser and nothing is clipped.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

BITS = 5
LEVELS = 127


def rounded_up(scale: NDArray[np.float32], bits: int = BITS) -> NDArray[np.float32]:
    """Positive numbers, each the nearest one of `bits` significant bits that is not smaller."""
    mantissa, exponent = np.frexp(scale.astype(np.float64))
    rounded: NDArray[np.float32] = np.ldexp(np.ceil(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)
    return rounded


def weight_scales(model: onnx.ModelProto, smallest_range: float) -> dict[str, list[dict[str, Any]]]:
    """For ONNX Runtime's quantiser (TensorQuantOverrides): a scale for each output channel of Conv and Gemm weights.

    And one for each table that Gather looks up, in which a zero would else be another number than 0, which no code is
    short for. smallest_range: of a channel's magnitudes; a narrower one is taken to be as wide.
    """
    from onnxruntime.quantization import QuantType

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in stored:
            table = numpy_helper.to_array(stored[node.input[0]])
            if table.dtype == np.float32 and table.size:
                found[node.input[0]] = [_of_table(table, smallest_range)]
            continue
        if not _has_outputs_first(node) or node.input[1] not in stored:
            continue
        weight = numpy_helper.to_array(stored[node.input[1]])
        if weight.dtype != np.float32 or weight.size == 0:
            continue
        largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
        scale = rounded_up(np.maximum(largest, np.float32(smallest_range)) / np.float32(LEVELS))
        of_channel = {"quant_type": QuantType.QInt8, "axis": 0, "zero_point": np.int8(0)}
        found[node.input[1]] = [{**of_channel, "scale": one} for one in scale]
    return found


def _of_table(table: NDArray[np.float32], smallest_range: float) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    scale = np.maximum(np.abs(table).max(), np.float32(smallest_range)) / np.float32(LEVELS)
    return {"quant_type": QuantType.QInt8, "zero_point": np.int8(0), "scale": rounded_up(scale)}


def _has_outputs_first(node: onnx.NodeProto) -> bool:
    if node.op_type == "Gemm":
        return any(attribute.name == "transB" and attribute.i == 1 for attribute in node.attribute)
    return node.op_type == "Conv"
