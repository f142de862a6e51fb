"""One weight as the smallest of its codes: the nodes that rebuild it, and what they are fed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from safedeploy.artifacts.onnx_encoding import DOMAIN
from safedeploy.export.encoding.functions import functions
from safedeploy.export.encoding.numbers import Stored, smallest
from safedeploy.export.encoding.positions import ARRAY_BYTES, codec, codecs
from safedeploy.export.encoding.values import int8_levels

Array = NDArray[Any]

STORED = "stored"  # not coded at all
AS_IS = "Reshape"  # every place, the numbers in another form
FILLED = "ConstantOfShape"
WITHOUT_DECODER = {STORED, AS_IS, FILLED}

NODE_BYTES = 60
WORTH_WHILE = 0.95  # of the bytes as they are; a code that saves less is not worth its operators
MOST = 0.9  # density: above it places are not worth coding
SMALL = 2**16  # weights: below it, what a code costs beside its bits counts
LARGE = 2**20  # weights: where what is held while decoding counts
SLACK = 1.04  # how much larger a large tensor's code may be for less memory while it is decoded


@dataclass
class Writer:
    """What the coded tensors of one file add to it."""

    taken: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: list[onnx.TensorProto] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    _shared: dict[Any, str] = field(default_factory=dict)
    _count: int = 0

    def fresh(self) -> str:
        while (name := _short(self._count)) in self.taken:
            self._count += 1
        self._count += 1
        return name

    def store(self, array: Array) -> str:
        """The name of `array`; equal arrays are stored once."""
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self.fresh()
            self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(array), self._shared[key]))
        return self._shared[key]

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or self.fresh()
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def call(self, function: str, inputs: Sequence[str], output: str = "") -> str:
        self.called.add(function)
        return self.add(function, inputs, output, domain=DOMAIN)

    def filled(self, shape: Sequence[int], value: np.generic) -> str:
        """A tensor of one value, made while loading; equal ones are made once."""
        key = ("filled", tuple(shape), str(value.dtype), value.tobytes())
        if key not in self._shared:
            sizes = self.store(np.array(shape, np.int64))
            one = numpy_helper.from_array(value.reshape(1))
            self._shared[key] = self.add("ConstantOfShape", [sizes], value=one)
        return self._shared[key]


def write(writer: Writer, weights: Mapping[str, Array]) -> dict[str, str]:
    """Let `writer` rebuild `weights`, bit for bit (but for the sign of zeros).

    Returns the codec of each weight for which one pays. Small weights with one codec are coded as one.
    """
    scales: dict[str, Array] = {}
    arrays: dict[str, Array] = {}
    for name, array in weights.items():
        scaled = _scaled(array) if array.dtype == np.float32 else None
        arrays[name] = array if scaled is None else scaled[0]
        if scaled is not None:
            scales[name] = scaled[1]
    chosen = choose({name: costs(array) for name, array in arrays.items()})
    together: dict[tuple[str, str], list[str]] = defaultdict(list)
    made = {name: writer.fresh() if name in scales else name for name in weights}
    for name, function in chosen.items():
        if function in (AS_IS, FILLED):
            _write(writer, made[name], arrays[name], function)
        elif function == STORED:
            if name in scales:
                writer.arrays.append(numpy_helper.from_array(arrays[name], made[name]))
        else:
            together[function, _group(name, arrays[name])].append(name)
    for (function, _), names in together.items():
        _write_together(writer, {made[name]: arrays[name] for name in names}, function)
    for name, scale in scales.items():
        writer.add("Mul", [writer.add("Cast", [made[name]], to=onnx.TensorProto.FLOAT), writer.store(scale)], name)
    return {name: function for name, function in chosen.items() if function != STORED or name in scales}


def costs(array: Array) -> dict[str, float]:
    """Bytes by codec. For a large tensor, of those about as small as the smallest, the one of least work alone."""
    flat = array.reshape(-1)
    positions = np.flatnonzero(flat)
    if not len(positions):
        return {FILLED: NODE_BYTES}
    found = {STORED: float(array.nbytes), AS_IS: smallest(flat).size_bytes / WORTH_WHILE}
    if len(positions) > MOST * array.size:
        return found
    numbers = smallest(flat[positions])
    book = 0 if numbers.book is None else numbers.book.nbytes + ARRAY_BYTES
    work = {}
    for one in codecs(positions):
        size = NODE_BYTES + book + one.size_bytes + len(one.entries) * numbers.bits / 8
        found[one.function] = size / WORTH_WHILE
        work[one.function] = one.work_bytes
    least = min(found.values())
    close = [function for function in work if found[function] <= SLACK * least]
    if array.size >= LARGE and close:
        best = min(close, key=lambda function: work[function])
        return {best: found[best]}
    return found


def choose(weights: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """A codec for each weight, so that the codes and the decoders they need are small together.

    All codecs at first; then, as long as that saves bytes, one is given up.
    """

    def best(allowed: set[str]) -> dict[str, str]:
        return {name: min(sorted(allowed & set(found)), key=lambda one: found[one]) for name, found in weights.items()}

    def total(picked: Mapping[str, str]) -> float:
        decoders = functions({one for one in picked.values() if one not in WITHOUT_DECODER})
        sizes = [weights[name][one] for name, one in picked.items()]
        return float(sum(sizes) + sum(one.ByteSize() for one in decoders))

    picked = best({one for found in weights.values() for one in found})
    while True:
        used = set(picked.values())
        rivals = [
            best(used - {one})
            for one in sorted(used - WITHOUT_DECODER)
            if all(len(set(found) & (used - {one})) for found in weights.values())
        ]
        rival = min(rivals, key=total, default=picked)
        if total(rival) >= total(picked):
            return picked
        picked = rival


def _group(name: str, array: Array) -> str:
    """What weights coded as one have in common: palettes of their own would not fit into one book."""
    if array.size >= SMALL:
        return name
    numbers = smallest(array[array != 0])
    return name if numbers.kind == "palette" else f"{array.dtype} {numbers.kind}"


def _write_together(writer: Writer, weights: Mapping[str, Array], function: str) -> None:
    if len(weights) == 1:
        _write(writer, *next(iter(weights.items())), function)
        return
    whole = writer.fresh()
    _write(writer, whole, np.concatenate([array.reshape(-1) for array in weights.values()]), function)
    sizes = writer.store(np.array([array.size for array in weights.values()], np.int64))
    parts = [writer.fresh() for _ in weights]
    writer.nodes.append(helper.make_node("Split", [whole, sizes], parts))
    for part, (name, array) in zip(parts, weights.items(), strict=True):
        writer.add("Reshape", [part, writer.store(np.array(array.shape, np.int64))], name)


def _write(writer: Writer, name: str, array: Array, function: str) -> None:
    flat = array.reshape(-1)
    shape = writer.store(np.array(array.shape, np.int64))
    if function == FILLED:
        writer.add(function, [shape], name, value=numpy_helper.from_array(np.zeros(1, array.dtype)))
        return
    if function == AS_IS:
        writer.add(function, [_numbers(writer, smallest(flat)), shape], name)
        return
    coded = codec(function, np.flatnonzero(flat))
    numbers = _numbers(writer, smallest(flat[coded.entries]))
    zeros = writer.filled([array.size], array.dtype.type(0))
    writer.call(function, [*(writer.store(part) for part in coded.arrays()), numbers, zeros, shape], name)


def _numbers(writer: Writer, stored: Stored) -> str:
    """The name of (n,) numbers as they are in the tensor."""
    if stored.kind == "raw":
        return writer.store(stored.numbers)
    if stored.kind == "float16":
        return writer.add("Cast", [writer.store(stored.numbers)], to=onnx.TensorProto.FLOAT)
    assert stored.book is not None
    count = np.array([len(stored.numbers)], np.int64)
    inputs: list[Array] = [*stored.fields(), count, stored.book]
    return writer.call(f"Palette{stored.bits}", [writer.store(part) for part in inputs])


def _scaled(array: Array) -> tuple[NDArray[np.int8], Array] | None:
    """Integers and a scale a channel whose product is `array` bit for bit, as `round_values` leaves weights."""
    if array.ndim < 2 or not np.isfinite(array).all():
        return None
    for axis in (0, array.ndim - 1):
        integers, scale = int8_levels(array, axis=axis)
        if np.array_equal(integers * scale, array):
            return integers, scale
    return None


def _short(number: int) -> str:
    """a, b, … z, aa, ab, …"""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(97 + letter) + name
    return name
