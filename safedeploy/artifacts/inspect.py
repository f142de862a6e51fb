"""What a model file holds, read out of the file: identity, input, classes, operators, and every stored tensor."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.info import artifact_info
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.results import Inspection, StoredTensor


def inspect(path: Path) -> Inspection:
    """Open `path` as an audit would and list what is in it. Raises UserError where it is no classifier."""
    info, artifact = artifact_info(path), open_artifact(path)
    try:
        artifact.unpack()
        closed = ""
    except Unopenable as reason:
        closed = str(reason)
    operators, tensors = _contents(path, info.format)
    return Inspection(
        artifact=info,
        input_shape=list(artifact.input_shape),
        classes=artifact.classes,
        white_box=closed,
        operators=operators,
        tensors=tensors,
    )


def _contents(path: Path, form: str) -> tuple[dict[str, int], list[StoredTensor] | None]:
    """Operators and stored tensors; ({}, None) of a program that does not follow its schemas."""
    if form == "onnx":
        return _operators(path), [_stored(name, values) for name, values in _tensors(path)]
    from safedeploy.artifacts.pte import contents

    data = path.read_bytes()
    try:
        return contents.operators(data), [_stored(name, values) for name, values in contents.tensors(data)]
    except Unopenable:
        return {}, None


def _stored(name: str, values: NDArray[np.generic]) -> StoredTensor:
    nonzero = int(np.count_nonzero(values))
    return StoredTensor(
        name=name,
        dtype=str(values.dtype),
        shape=list(values.shape),
        nonzero=nonzero,
        density=nonzero / values.size if values.size else 0.0,
        size_bytes=values.nbytes,
    )


def _tensors(path: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Initialisers and the values of Constant nodes, in the order of the file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    for tensor in graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield node.output[0], numpy_helper.to_array(attribute.t)


def _operators(path: Path) -> dict[str, int]:
    import onnx

    return dict(sorted(Counter(node.op_type for node in onnx.load(str(path)).graph.node).items()))
