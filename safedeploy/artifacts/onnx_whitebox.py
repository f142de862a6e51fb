"""The white box of an ONNX file: the input of its last linear layer, read out by a copy of the graph that shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Features, Inner, Unopenable
from safedeploy.artifacts.batches import as_input, in_batches
from safedeploy.artifacts.onnx_encoding import decoded
from safedeploy.artifacts.onnx_session import VALUE_KEEPERS, one_line, open_session
from safedeploy.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from safedeploy.artifacts.onnx import OnnxArtifact
    from safedeploy.artifacts.onnx_inner import OnnxInner

AFTER_LOGITS = VALUE_KEEPERS | {"Softmax", "LogSoftmax"}
SHOWN = ("safedeploy_penultimate", "safedeploy_weight", "safedeploy_bias")
TOLERANCE = 1e-4  # of the largest logit
ROUNDED_TOLERANCE = 0.05  # of the largest logit, for the median: int8 and float16 round, and int8 saturates
PROBES = 8


@dataclass(frozen=True)
class LastLayer:
    """Names of tensors in the graph: logits = alpha · `penultimate` @ `weight` (transposed if so) + beta · `bias`."""

    penultimate: str
    weight: str
    bias: str | None
    transposed: bool = False
    alpha: float = 1.0
    beta: float = 1.0


class OnnxWhiteBox:
    """`weight` (d, classes) and `bias` (classes,): the last layer as the runtime uses it, dequantised or decoded."""

    def __init__(self, artifact: "OnnxArtifact") -> None:
        """Raises Unopenable where the last layer is not linear or the copy does not answer as the file does."""
        self._artifact = artifact
        model = decoded(onnx.load(str(artifact.path)), artifact.path)
        last = last_layer(model.graph, artifact.input_name, artifact.output_name)
        self._shown = show(model.graph, last)
        try:
            self._session = open_session(model.SerializeToString(), artifact.path, artifact.threads)
            self.weight, self.bias = self._layer(last)
        except (UserError, ValueError) as error:
            raise Unopenable(f"the graph does not run with its inner values shown: {error}") from None
        self._check()
        self._inside: OnnxInner | Unopenable | None = None

    def features(self, x: Array) -> Features:
        x = as_input(x, self._artifact.input_shape, self._artifact.name)
        answers, penultimate = self._run_batches(x)
        return Features(logits=self._artifact.to_logits(answers), penultimate=penultimate)

    def inner(self, x: Array, y: NDArray[np.int64]) -> Inner:
        """Raises Unopenable where torch is not installed or the importer cannot rebuild the graph."""
        return self._opened().read(as_input(x, self._artifact.input_shape, self._artifact.name), y)

    @property
    def module(self) -> "nn.Module":
        """The graph in torch: logits, or log-probabilities where the file ends in a softmax. Raises as `inner` does."""
        return self._opened().module

    def _opened(self) -> "OnnxInner":
        if self._inside is None:
            self._inside = self._open_inside()
        if isinstance(self._inside, Unopenable):
            raise self._inside
        return self._inside

    def _open_inside(self) -> "OnnxInner | Unopenable":
        try:
            from safedeploy.artifacts.onnx_inner import OnnxInner
        except ImportError:
            return Unopenable("every layer of an ONNX file needs the extra 'train': pip install 'safedeploy[train]'")
        try:
            return OnnxInner(self._artifact)
        except Unopenable as closed:
            return closed

    def _run_batches(self, x: Array) -> tuple[Array, Array]:
        answers, penultimate = in_batches(x, self._artifact.batch, self._run, pad=self._artifact.fixed_batch)
        return answers, penultimate

    def _run(self, x: Array) -> tuple[Array, Array]:
        try:
            answers, penultimate = self._outputs(x, [self._artifact.output_name, SHOWN[0]])
        except Exception as error:  # the runtime's exceptions have no common base of their own
            reason = one_line(error)
            raise UserError(f"{self._artifact.path}: ONNX Runtime fails with inner values shown: {reason}") from None
        return answers.astype(np.float32), penultimate.reshape(len(x), -1).astype(np.float32)

    def _outputs(self, x: Array, names: list[str]) -> list[NDArray[Any]]:
        values = self._session.run(names, self._artifact.feed(x))
        return [np.asarray(value) for value in values]

    def _layer(self, last: LastLayer) -> tuple[Array, Array]:
        """The last layer's weight and bias, computed by the runtime from whatever the file stores."""
        rows = self._artifact.batch if self._artifact.fixed_batch else 1
        zeros = np.zeros((rows, *self._artifact.input_shape), dtype=np.float32)
        values = dict(zip(self._shown[1:], self._outputs(zeros, self._shown[1:]), strict=True))
        self._rounded = self._artifact.quantised or values[SHOWN[1]].dtype == np.float16
        weight = values[SHOWN[1]].astype(np.float32) * np.float32(last.alpha)
        weight = weight.T if last.transposed else weight
        if weight.ndim != 2 or weight.shape[1] != self._artifact.classes:
            raise ValueError(f"the last layer's weight has shape {weight.shape} for {self._artifact.classes} classes")
        bias = values.get(SHOWN[2], np.zeros(1)).astype(np.float32).reshape(-1) * np.float32(last.beta)
        return weight, np.broadcast_to(bias, (self._artifact.classes,)).copy()

    def _check(self) -> None:
        """The copy answers as the file does, and penultimate @ weight + bias is what it answers."""
        x = self._artifact.probes(PROBES, 1)
        original = self._artifact.logits(x)
        answers, penultimate = self._run_batches(x)
        copied = self._artifact.to_logits(answers)
        scale = max(float(np.abs(original).max()), 1e-6)
        same_top1 = np.array_equal(copied.argmax(1), original.argmax(1))
        if np.abs(copied - original).max() > TOLERANCE * scale and not (self._rounded and same_top1):
            raise Unopenable("the graph answers differently when its inner values are shown")
        if penultimate.shape[1] != len(self.weight):
            sizes = f"{len(self.weight)} inputs, but a sample shows {penultimate.shape[1]}"
            raise Unopenable(f"the last layer has {sizes}: it is applied more than once")
        product = penultimate.astype(np.float64) @ self.weight + self.bias
        wanted = original.astype(np.float64)
        if self._artifact.probabilities or np.abs(np.logaddexp.reduce(wanted, axis=1)).max() < 1e-3:
            product, wanted = _log_softmax(product), _log_softmax(wanted)
        wrong = np.abs(product - wanted) / scale
        if np.median(wrong) > ROUNDED_TOLERANCE or (wrong.max() > TOLERANCE and not self._rounded):
            raise Unopenable("the last linear layer found does not give the logits: something not linear follows it")


def last_layer(graph: onnx.GraphProto, input_name: str, output_name: str) -> LastLayer:
    """The linear layer whose result is that output. Raises Unopenable with the operator found instead."""
    producers = {output: node for node in graph.node for output in node.output}
    live = _depends_on(graph, input_name)
    name, bias = output_name, None
    while True:
        node = producers.get(name)
        if node is None:
            raise Unopenable("the graph has no linear layer between its input and its output")
        if node.op_type in AFTER_LOGITS:
            name = node.input[0]
        elif node.op_type == "Add" and bias is None and (node.input[0] in live) != (node.input[1] in live):
            name, bias = node.input if node.input[0] in live else reversed(node.input)
        elif node.op_type == "MatMul" and node.input[0] in live and node.input[1] not in live:
            return LastLayer(node.input[0], node.input[1], bias)
        elif node.op_type == "Gemm" and bias is None:
            return _gemm(node, live)
        else:
            raise Unopenable(f"the last layer is not linear but {node.op_type}{f' ({node.name})' if node.name else ''}")


def show(graph: onnx.GraphProto, last: LastLayer) -> list[str]:
    """Add the last layer's tensors to the outputs of `graph`; their names there, in the order of SHOWN."""
    producers = {output: node for node in graph.node for output in node.output}
    shown = []
    for name, source in zip(SHOWN, (last.penultimate, last.weight, last.bias), strict=True):
        if source is None:
            continue
        node = producers.get(source)
        if node is not None and node.op_type == "DequantizeLinear":
            # a second reading of the integers leaves the first one free to be fused into an integer product
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            twin.name, twin.output[0] = name, name
        else:
            twin = onnx.helper.make_node("Identity", [source], [name], name=name)
        graph.node.append(twin)
        graph.output.append(onnx.ValueInfoProto(name=name))
        shown.append(name)
    return shown


def _gemm(node: onnx.NodeProto, live: set[str]) -> LastLayer:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.input[0] not in live or any(name in live for name in node.input[1:]) or attributes.get("transA", 0):
        raise Unopenable("the last layer is a product of two activations")
    return LastLayer(
        node.input[0],
        node.input[1],
        node.input[2] if len(node.input) > 2 and node.input[2] else None,
        transposed=bool(attributes.get("transB", 0)),
        alpha=float(attributes.get("alpha", 1.0)),
        beta=float(attributes.get("beta", 1.0)),
    )


def _depends_on(graph: onnx.GraphProto, input_name: str) -> set[str]:
    """Names of the tensors computed from the input; nodes of a valid graph are in order."""
    live = {input_name}
    for node in graph.node:
        if any(name in live for name in node.input):
            live.update(node.output)
    return live


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - np.logaddexp.reduce(values, axis=1, keepdims=True))
