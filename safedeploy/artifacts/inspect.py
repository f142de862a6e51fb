"""What a model file holds, read out of the file: identity, input, classes, operators, and every stored tensor."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.info import artifact_info
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.results import Inspection, StoredTensor, WeightEncoding

if TYPE_CHECKING:
    import onnx

State = Literal["coded", "decoded at every inference", "plain", "dense"]

WORTH_CODING = 0.9  # of a tensor's bytes: where its bound is below, it counts as sparse
WORTH_TELLING = 512  # bytes that coding would spare
LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
SHORT = 3  # letters of a name that says nothing


def inspect(path: Path) -> Inspection:
    """Open `path` as an audit would and list what is in it. Raises UserError where it is no classifier."""
    info, artifact = artifact_info(path), open_artifact(path)
    try:
        artifact.unpack()
        closed = ""
    except Unopenable as reason:
        closed = str(reason)
    operators, tensors, encoding = _onnx_contents(path) if info.format == "onnx" else (*_pte_contents(path), None)
    return Inspection(
        artifact=info,
        input_shape=list(artifact.input_shape),
        classes=artifact.classes,
        white_box=closed,
        operators=operators,
        tensors=tensors,
        encoding=encoding,
        tokens=bool(getattr(artifact, "tokens", False)),
    )


def _pte_contents(path: Path) -> tuple[dict[str, int], list[StoredTensor] | None]:
    """Operators and stored tensors; ({}, None) of a program that does not follow its schemas."""
    from safedeploy.artifacts.pte import contents

    data = path.read_bytes()
    try:
        return contents.operators(data), [_stored(name, values) for name, values in contents.tensors(data)]
    except Unopenable:
        return {}, None


def _onnx_contents(path: Path) -> tuple[dict[str, int], list[StoredTensor], WeightEncoding]:
    """Operators of the main graph, its constants, the coded ones as the weights they stand for, and how those are."""
    import onnx

    from safedeploy.artifacts.onnx_encoding import coded, decoded

    model = onnx.load(str(path))
    codes, plain = coded(model, path), decoded(model, path)
    names = _layer_names(plain)
    tensors = [
        _stored(names.get(code.name, code.name), code.value, code.codec, code.size_bytes, code.number_bits)
        for code in codes
    ]
    known = {code.name for code in codes}
    tensors += [_stored(names.get(name, name), value) for name, value in _constants(plain) if name not in known]
    operators = dict(sorted(Counter(node.op_type for node in model.graph.node).items()))
    return operators, tensors, _encoding(model, path, tensors)


def _stored(
    name: str, values: NDArray[np.generic], codec: str = "", size_bytes: int | None = None, bits: int | None = None
) -> StoredTensor:
    nonzero = int(np.count_nonzero(values))
    return StoredTensor(
        name=name,
        dtype=str(values.dtype),
        shape=list(values.shape),
        nonzero=nonzero,
        density=nonzero / values.size if values.size else 0.0,
        size_bytes=values.nbytes if size_bytes is None else size_bytes,
        codec=codec,
        bound_bytes=bound_bytes(values.size, nonzero, bits or values.dtype.itemsize * 8),
    )


def position_bits(size: int, nonzero: int) -> float:
    """log2 of the number of ways to choose `nonzero` of `size` places: no code of random places is shorter."""
    ways = math.lgamma(size + 1) - math.lgamma(nonzero + 1) - math.lgamma(size - nonzero + 1)
    return max(0.0, ways / math.log(2))


def bound_bytes(size: int, nonzero: int, bits: int) -> int:
    """The entropy bound of `nonzero` numbers of `bits` bits each among `size` places, in whole bytes."""
    places = position_bits(size, nonzero)
    return math.ceil(round((places + nonzero * bits) / 8, 6))


def _encoding(model: "onnx.ModelProto", path: Path, tensors: list[StoredTensor]) -> WeightEncoding:
    from safedeploy.artifacts.onnx_encoding import calls_codes, decodes_at_every_inference

    codes = [one for one in tensors if one.codec]
    if codes or calls_codes(model):
        spared = sum(math.prod(one.shape) * np.dtype(one.dtype).itemsize - one.size_bytes for one in codes)
        again = decodes_at_every_inference(model, path)
        state: State = "decoded at every inference" if again else "coded"
        return WeightEncoding(state=state, coded=len(codes), spared_bytes=spared)
    sparse = [one for one in tensors if (one.bound_bytes or 0) < WORTH_CODING * one.size_bytes]
    spared = sum(one.size_bytes - (one.bound_bytes or 0) for one in sparse)
    if spared > WORTH_TELLING:
        return WeightEncoding(state="plain", coded=0, spared_bytes=spared)
    return WeightEncoding(state="dense", coded=0, spared_bytes=0)


def _constants(model: "onnx.ModelProto") -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Initialisers and the values of Constant nodes, in the order of the file."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield node.output[0], numpy_helper.to_array(attribute.t)


def _layer_names(model: "onnx.ModelProto") -> dict[str, str]:
    """Names for what encoding has left one or two letters of: conv1.weight, conv1.bias, gemm2.weight, …"""
    names: dict[str, str] = {}
    rounded = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    count: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in LAYERS:
            continue
        count[node.op_type] += 1
        for role, name in zip(("weight", "bias"), node.input[1:], strict=False):
            parts = rounded[name].input if name in rounded else [name]
            for part, suffix in zip(parts, ("", ".scale", ".zero_point"), strict=False):
                if len(part) <= SHORT:
                    names.setdefault(part, f"{node.op_type.lower()}{count[node.op_type]}.{role}{suffix}")
    return names
