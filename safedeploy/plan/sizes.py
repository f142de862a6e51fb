"""Bytes before there is a file: the entropy bound, a random sample compressed, and what graphs take in other files."""

import zlib
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.inspect import position_bits
from safedeploy.seeds import numpy_generator

Precision = Literal["float32", "int8"]

VALUE_BYTES: dict[Precision, int] = {"float32": 4, "int8": 1}
SAMPLE = 1 << 15  # weights compressed for an estimate: four of deflate's windows of float32
LEVEL = 9

FLOAT_ZIP = 0.93  # of the float32 numbers beside the weights: sign and exponent shrink, the mantissa does not
GRAPH_ZIP, ENCODED_GRAPH_ZIP = 0.2, 0.6  # of operator and tensor names; encoded files have short ones already
PLACES = 1.12  # what the encoder's codes take over the entropy bound of the places: 5 to 25 % in the same files


def position_bytes(weights: int, kept: int) -> float:
    """log₂ of the number of ways to choose `kept` of `weights` places, in bytes: no code of the places is shorter."""
    if not 0 <= kept <= weights:
        raise ValueError(f"{kept} kept of {weights}")
    return position_bits(weights, kept) / 8


def encoded_bytes(weights: int, kept: int, precision: Precision) -> float:
    """Places at the entropy bound and the kept values as they are; dense where that is smaller."""
    return min(position_bytes(weights, kept) + kept * VALUE_BYTES[precision], weights * VALUE_BYTES[precision])


def zip_bytes_a_weight(density: float, fan_in: int, precision: Precision, *, zeros: bool) -> float:
    """Bytes a weight takes in a zip (deflate, level 9): stored with its zeros, or alone (then of a kept weight).

    Measured on normal random weights of which the largest stay, int8 with a scale a row of `fan_in`; trained weights
    may be distributed otherwise.
    """
    row = min(fan_in, SAMPLE) if precision == "int8" else SAMPLE  # a row matters for the scale alone
    return _zipped(float(f"{density:.2g}"), row, precision, zeros)


@cache
def _zipped(density: float, row: int, precision: Precision, zeros: bool) -> float:
    weight = numpy_generator(0, "plan", row).standard_normal((SAMPLE // row, row), dtype=np.float32)
    kept = max(1, round(density * weight.size))
    weight[np.abs(weight) < np.partition(np.abs(weight), -kept, axis=None)[-kept]] = 0
    values: NDArray[np.generic] = weight
    if precision == "int8":
        largest = np.abs(weight).max(axis=1, keepdims=True)
        values = np.round(weight / np.where(largest > 0, largest, 1) * 127).astype(np.int8)
    stored = values if zeros else values[weight != 0]
    return len(zlib.compress(stored.tobytes(), LEVEL)) / stored.size


# Bytes a file, a layer and an output channel beside weights and biases, and what a zip leaves of the last: fitted to
# files of LeNet-5, the MLP, MobileNetV2 and ResNet-18. An int8 channel has scales and zero points of its own.
GRAPH = {
    "model.onnx": (0, 550, 0.0, 1.0),
    "model.int8.onnx": (0, 1700, 13.0, 0.57),
    "model.pte": (1400, 540, 0.0, 1.0),
    "model.int8.pte": (1500, 900, 8.0, 0.4),
}
ENCODED_GRAPH = {"model.onnx": (800, 250, 0.0, 1.0), "model.int8.onnx": (1500, 500, 3.4, 0.65)}


def graph_bytes(file: str, layers: int, outputs: int, *, encoded: bool = False) -> int:
    """What a file of the exporters here holds beside weights and biases: operators, names, scales, zero points."""
    a_file, a_layer, an_output, _ = (ENCODED_GRAPH if encoded else GRAPH)[file]
    return round(a_file + a_layer * layers + an_output * outputs)


def graph_zip_bytes(file: str, layers: int, outputs: int, *, encoded: bool = False) -> int:
    """The same in a zip."""
    a_file, a_layer, an_output, left = (ENCODED_GRAPH if encoded else GRAPH)[file]
    of_text = ENCODED_GRAPH_ZIP if encoded else GRAPH_ZIP
    return round(of_text * (a_file + a_layer * layers) + left * an_output * outputs)
