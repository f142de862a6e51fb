"""An ONNX file in ONNX Runtime: the black box; its graph gives the white box (`onnx_whitebox.py`)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, WhiteBox
from safedeploy.artifacts.batches import as_input, finite, in_batches
from safedeploy.artifacts.onnx_session import VALUE_KEEPERS, one_line, open_session
from safedeploy.errors import UserError

BATCH = 256
PROBES = 8
FLOATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
QUANTISED = {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"}


class OnnxArtifact:
    """A classifier in an ONNX file.

    `probabilities`: the file answers probabilities, and `logits` are their logarithms.
    `quantised`: some weights or activations are integers.
    """

    format: Literal["onnx"] = "onnx"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Raises UserError with one line where the file is damaged, unknown to the runtime or no classifier."""
        self.path = path
        self.name = path.name
        self.threads = threads
        model = onnx.load(str(path), load_external_data=False)
        side_files(path, model)
        self.session = open_session(str(path), path, threads)
        self.input_name, self._dtype, declared = _only_input(self.session, path)
        self.input_shape = declared[1:]
        self.output_name = _only_output(self.session, path)
        operators = {node.op_type for node in model.graph.node}
        self.quantised = bool(operators & QUANTISED)
        # one range over the whole batch: only single samples get the answers they get on a device
        alone = any(operator.startswith("DynamicQuantize") for operator in operators)
        self.fixed_batch = bool(declared[0])
        self.batch, answers = self._probe(declared[0] or (1 if alone else 0))
        self.classes = int(answers.shape[1])
        self.probabilities = _ends_in_softmax(model) or _are_probabilities(answers)

    def logits(self, x: Array) -> Array:
        """(n, classes) float32. Raises UserError on a wrong shape and on answers that are NaN or infinite."""
        x = as_input(x, self.input_shape, self.name)
        return self.to_logits(in_batches(x, self.batch, self._run, pad=self.fixed_batch)[0])

    def unpack(self) -> WhiteBox:
        from safedeploy.artifacts.onnx_whitebox import OnnxWhiteBox

        return OnnxWhiteBox(self)

    def to_logits(self, answers: Array) -> Array:
        """The file's answers on the scale of logits."""
        finite(answers, self.name)
        if not self.probabilities:
            return answers
        return np.log(np.clip(answers, np.finfo(np.float32).tiny, 1.0))

    def cast(self, x: Array) -> NDArray[Any]:
        """`x` in the floating-point type of the file's input."""
        return x.astype(self._dtype, copy=False)

    def _run(self, x: Array) -> tuple[Array]:
        try:
            answers = self.session.run([self.output_name], {self.input_name: self.cast(x)})[0]
        except Exception as error:  # the runtime's exceptions have no common base of their own
            reason = one_line(error)
            raise UserError(f"{self.path}: ONNX Runtime fails on {len(x)} inputs: {reason}; export it again") from None
        return (np.asarray(answers, dtype=np.float32),)

    def _probe(self, wanted: int) -> tuple[int, Array]:
        """The batch that works (`wanted`, where 0 is free) and the answers to random inputs.

        A batch axis that is free in name only counts as fixed to 1.
        """
        x = np.random.default_rng(0).standard_normal((PROBES, *self.input_shape), dtype=np.float32)
        if not wanted:
            try:
                answers = self._run(x)[0]
                if answers.ndim == 2 and len(answers) == PROBES:
                    return BATCH, self._classifier(answers)
            except UserError:
                pass
            self.fixed_batch = True
        size = wanted or 1
        first = self._classifier(self._run(np.resize(x, (size, *self.input_shape)))[0])
        if len(first) != size:
            raise UserError(f"{self.path}: {size} inputs give {len(first)} answers; export it with the batch first")
        return size, first if size >= PROBES else in_batches(x, size, self._run, pad=True)[0]

    def _classifier(self, answers: Array) -> Array:
        if answers.ndim != 2:
            what = f"its output '{self.output_name}' has shape {answers.shape}, not (n, classes)"
            raise UserError(f"{self.path} is not a classifier: {what}; give a classifier")
        if answers.shape[1] < 2:
            what = f"its output '{self.output_name}' has one column"
            raise UserError(f"{self.path} is not a classifier of several classes: {what}; export one column a class")
        return answers


def side_files(path: Path, model: onnx.ModelProto) -> list[Path]:
    """The files beside `path` that hold its weights, if any.

    Raises UserError where one is missing or lies outside the folder of `path`.
    """
    places = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = []
    for place in sorted(places):
        file = path.parent / place
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise UserError(f"{path} keeps weights in '{place}', outside its folder; export it with the weights inside")
        if not file.is_file():
            raise UserError(f"{path} keeps its weights in '{place}', which is not beside it; copy that file too")
        files.append(file)
    return files


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    return [*model.graph.initializer, *constants]


def _only_input(session: Any, path: Path) -> tuple[str, type[np.floating[Any]], tuple[int, ...]]:
    """(name, type, shape) of the one input; the batch is 0 where it is free."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(f"'{one.name}'" for one in inputs) or "none"
        raise UserError(f"{path} has {len(inputs)} inputs ({names}); give a classifier with one: fix the others")
    only = inputs[0]
    if only.type not in FLOATS:
        what = f"its input '{only.name}' is {only.type}"
        raise UserError(f"{path}: {what}; give a classifier of floating-point inputs, not of tokens or raw bytes")
    shape = list(only.shape or [])
    if len(shape) < 2:
        raise UserError(f"{path}: its input '{only.name}' has shape {shape}, without a batch axis; export it with one")
    if any(not isinstance(size, int) or size < 1 for size in shape[1:]):
        raise UserError(f"{path}: its input '{only.name}' has free sizes {shape}; fix all but the batch when exporting")
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
    return only.name, FLOATS[only.type], (batch, *shape[1:])


def _only_output(session: Any, path: Path) -> str:
    outputs = session.get_outputs()
    if len(outputs) != 1:
        names = ", ".join(f"'{one.name}'" for one in outputs)
        raise UserError(f"{path} has {len(outputs)} outputs ({names}); give a classifier with one: the logits alone")
    only = outputs[0]
    if only.type not in FLOATS:
        raise UserError(f"{path}: its output '{only.name}' is {only.type}; export logits or probabilities")
    return str(only.name)


def _ends_in_softmax(model: onnx.ModelProto) -> bool:
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers.get(model.graph.output[0].name)
    while node is not None and node.op_type in VALUE_KEEPERS:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _are_probabilities(answers: Array) -> bool:
    inside = bool(((answers >= 0) & (answers <= 1)).all())
    return inside and bool(np.allclose(answers.sum(axis=1), 1, atol=1e-3))
