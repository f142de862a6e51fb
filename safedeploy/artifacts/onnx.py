"""An ONNX file in ONNX Runtime: the black box; its graph gives the white box (`onnx_whitebox.py`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Unopenable, WhiteBox
from safedeploy.artifacts.batches import as_input, finite, in_batches
from safedeploy.artifacts.onnx_ports import choose_output, read_inputs, to_scores
from safedeploy.artifacts.onnx_session import VALUE_KEEPERS, one_line, open_session
from safedeploy.artifacts.tokens import token_probes
from safedeploy.errors import UserError

BATCH = 256
PROBES = 8
QUANTISED = {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"}


class OnnxArtifact:
    """A classifier in an ONNX file.

    `probabilities`: the file answers probabilities, and `logits` are their logarithms. `labels_only`: it answers
    labels, which count as probabilities of 0 and 1. `tokens`: its inputs are whole numbers. `quantised`: some weights
    or activations are integers.
    """

    format: Literal["onnx"] = "onnx"

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        output: str | None = None,
        shape: Sequence[int] | None = None,
    ) -> None:
        """`output`: the one that answers, where several could. `shape`: one sample's, where the file leaves it free.

        Raises UserError with one line where the file is damaged, unknown to the runtime or no classifier.
        """
        self.path = path
        self.name = path.name
        self.threads = threads
        model = onnx.load(str(path), load_external_data=False)
        side_files(path, model)
        self.session = open_session(str(path), path, threads)
        self.inputs = read_inputs(self.session, path, shape)
        self.input_name, self.input_shape, self.tokens = self.inputs.names[0], self.inputs.shape, self.inputs.tokens
        self.output = choose_output(self.session, model, path, output)
        self.output_name, self.labels_only = self.output.name, self.output.kind == "labels"
        operators = {node.op_type for node in model.graph.node}
        self.quantised = bool(operators & QUANTISED)
        # one range over the whole batch: only single samples get the answers they get on a device
        alone = any(operator.startswith("DynamicQuantize") for operator in operators)
        self.fixed_batch = bool(self.inputs.batch)
        self.batch, answers = self._probe(self.inputs.batch or (1 if alone else 0))
        self.classes = int(answers.shape[1])
        self.probabilities = _ends_in_softmax(model, self.output_name) or _are_probabilities(answers)

    def logits(self, x: Array) -> Array:
        """(n, classes) float32. Raises UserError on a wrong shape and on answers that are NaN or infinite."""
        x = as_input(x, self.input_shape, self.name)
        return self.to_logits(self.answers(x))

    def answers(self, x: Array) -> Array:
        """What the runtime gives for `x` of the right shape, (n, classes), whatever it is."""
        return in_batches(x, self.batch, self._run, pad=self.fixed_batch)[0]

    def unpack(self) -> WhiteBox:
        from safedeploy.artifacts.onnx_whitebox import OnnxWhiteBox

        if len(self.inputs.names) > 1:
            raise Unopenable("only the inside of a file with one input is read")
        if self.labels_only:
            raise Unopenable("the file answers labels: its last layer's logits are not shown")
        return OnnxWhiteBox(self)

    def to_logits(self, answers: Array) -> Array:
        """The file's answers on the scale of logits."""
        finite(answers, self.name)
        if not self.probabilities:
            return answers
        return np.log(np.clip(answers, np.finfo(np.float32).tiny, 1.0))

    def feed(self, x: Array) -> dict[str, NDArray[Any]]:
        """`x` as the session takes it: by name, in the types of the file's inputs."""
        return self.inputs.feed(x)

    def probes(self, count: int, seed: int) -> Array:
        """Random inputs that the file can answer: noise, or small token numbers."""
        if self.tokens:
            return token_probes(count, self.input_shape, seed)
        return np.random.default_rng(seed).standard_normal((count, *self.input_shape), dtype=np.float32)

    def _run(self, x: Array) -> tuple[Array]:
        try:
            answers = self.session.run([self.output_name], self.feed(x))[0]
        except Exception as error:  # the runtime's exceptions have no common base of their own
            reason = one_line(error)
            raise UserError(f"{self.path}: ONNX Runtime fails on {len(x)} inputs: {reason}; export it again") from None
        return (to_scores(self.output.kind, self.output.classes, answers),)

    def _probe(self, wanted: int) -> tuple[int, Array]:
        """The batch that works (`wanted`, where 0 is free) and the answers to random inputs.

        A batch axis that is free in name only counts as fixed to 1.
        """
        x = self.probes(PROBES, 0)
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


def _ends_in_softmax(model: onnx.ModelProto, output: str) -> bool:
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in VALUE_KEEPERS:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _are_probabilities(answers: Array) -> bool:
    inside = bool(((answers >= 0) & (answers <= 1)).all())
    return inside and bool(np.allclose(answers.sum(axis=1), 1, atol=1e-3))
