"""What an ONNX file takes and gives, told from its session and graph: the inputs, and which output is the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array
from safedeploy.artifacts.onnx_session import VALUE_KEEPERS
from safedeploy.errors import UserError

Kind = Literal["scores", "labels"]

FLOATS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
TOKENS: dict[str, type[np.generic]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
LABELS = ("tensor(int64)", "tensor(int32)")
MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


@dataclass(frozen=True)
class Inputs:
    """`shape` is one sample's; several inputs are its first axis, one after another. `batch`: 0 where it is free."""

    names: tuple[str, ...]
    dtypes: tuple[type[np.generic], ...]
    batch: int
    shape: tuple[int, ...]

    @property
    def tokens(self) -> bool:
        """Whole numbers that stand for words: no noise can be added to them."""
        return all(not issubclass(dtype, np.floating) for dtype in self.dtypes)

    def feed(self, x: Array) -> dict[str, NDArray[Any]]:
        parts = [x] if len(self.names) == 1 else [x[:, position] for position in range(len(self.names))]
        return {
            name: part.astype(dtype, copy=False)
            for name, dtype, part in zip(self.names, self.dtypes, parts, strict=True)
        }


@dataclass(frozen=True)
class Output:
    """`classes`: of a file that gives labels alone, else 0: the answers tell it."""

    name: str
    kind: Kind
    classes: int = 0


def read_inputs(session: Any, path: Path, shape: Sequence[int] | None) -> Inputs:
    """The inputs, all of one shape. `shape`: of one sample, for a file that leaves sizes free.

    Raises UserError for inputs that are neither numbers nor tokens, differ in shape, or are free with no `shape`.
    """
    ports = session.get_inputs()
    if not ports:
        raise UserError(f"{path} has no inputs; give a classifier")
    dtypes = []
    for port in ports:
        if port.type not in FLOATS and port.type not in TOKENS:
            what = f"its input '{port.name}' is {port.type}"
            raise UserError(f"{path}: {what}; give a classifier of floating-point inputs or of tokens")
        dtypes.append({**FLOATS, **TOKENS}[port.type])
    batches, shapes = zip(*(_declared(port, path, shape, len(ports)) for port in ports), strict=True)
    if len(set(shapes)) > 1 or len({dtype in TOKENS.values() for dtype in dtypes}) > 1:
        names = ", ".join(f"'{port.name}' {list(port.shape)} {port.type}" for port in ports)
        raise UserError(f"{path} has inputs of different kinds ({names}); give a classifier of one, or fix the others")
    whole = shapes[0] if len(ports) == 1 else (len(ports), *shapes[0])
    return Inputs(tuple(port.name for port in ports), tuple(dtypes), max(batches), whole)


def _declared(port: Any, path: Path, given: Sequence[int] | None, count: int) -> tuple[int, tuple[int, ...]]:
    """(batch, shape without it) of one input; free sizes are taken from `given`."""
    sizes = list(port.shape or [])
    if len(sizes) < 2:
        what = f"its input '{port.name}' has shape {sizes}"
        raise UserError(f"{path}: {what}, without a batch axis; export it with one")
    own = list(given)[1:] if given is not None and count > 1 else given
    free = [axis for axis, size in enumerate(sizes[1:]) if not isinstance(size, int) or size < 1]
    if free and (own is None or len(own) != len(sizes) - 1):
        what = f"its input '{port.name}' has free sizes {sizes}"
        raise UserError(f"{path}: {what}; give samples of one size, or fix all but the batch when exporting")
    shape = tuple(int(own[axis]) if axis in free else int(size) for axis, size in enumerate(sizes[1:]))  # type: ignore[index]
    return (sizes[0] if isinstance(sizes[0], int) and sizes[0] > 0 else 0), shape


def choose_output(session: Any, model: onnx.ModelProto, path: Path, wanted: str | None) -> Output:
    """The output called `wanted`, else the only one that can be an answer.

    Class scores go before labels. Raises UserError that names the outputs where several could be meant, or none can.
    """
    ports = {port.name: port for port in session.get_outputs()}
    named = ", ".join(f"'{name}' {port.type} {list(port.shape or [])}" for name, port in ports.items())
    if wanted is not None:
        if wanted not in ports:
            raise UserError(f"{path} has no output '{wanted}'; it has {named}")
        ports = {wanted: ports[wanted]}
    scores = [name for name, port in ports.items() if port.type in FLOATS or port.type in MAPS]
    scores = [name for name in scores if ports[name].type in MAPS or len(ports[name].shape or [0, 0]) == 2] or scores
    if len(scores) == 1:
        return Output(scores[0], "scores")
    if len(scores) > 1:
        raise UserError(f"{path} has several outputs ({named}); say which holds the answers: --output NAME")
    labels = [name for name, port in ports.items() if port.type in LABELS]
    if len(labels) != 1:
        raise UserError(f"{path} has no output of logits, probabilities or labels but {named}; export logits")
    return Output(labels[0], "labels", _label_count(model, labels[0], path))


def to_scores(kind: Kind, classes: int, answers: Any) -> Array:
    """A runtime's answer as (n, classes) float32: probability maps laid out, a label as a sure probability of 1."""
    if isinstance(answers, list):  # one {class: probability} a sample
        keys = sorted(answers[0])
        return np.array([[row[key] for key in keys] for row in answers], dtype=np.float32)
    if kind == "labels":
        return np.asarray(np.eye(classes, dtype=np.float32)[np.asarray(answers).reshape(-1)])
    return np.asarray(answers, dtype=np.float32)


def _label_count(model: onnx.ModelProto, output: str, path: Path) -> int:
    """How many classes a file that gives labels alone can tell apart, from the operators before them."""
    from onnx import numpy_helper

    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    widths = _widths(model)
    node = producers.get(output)
    while node is not None:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_ints", "classlabels_int64s"):
                return len(attribute.ints)
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
            return int(numpy_helper.to_array(constants[node.input[0]]).size)
        if node.op_type == "ArgMax" and widths(node.input[0]):
            return widths(node.input[0])
        if node.op_type not in VALUE_KEEPERS:
            break
        node = producers.get(node.input[0])
    raise UserError(f"{path} gives labels in '{output}' and not how many there are; export probabilities or logits")


def _widths(model: onnx.ModelProto) -> Callable[[str], int]:
    """The last axis of a tensor of the graph by its name; 0 where it is not known."""
    inferred = onnx.shape_inference.infer_shapes(model)
    sizes = {
        value.name: value.type.tensor_type.shape.dim[-1].dim_value
        for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
        if value.type.tensor_type.shape.dim
    }
    return lambda name: int(sizes.get(name, 0))
