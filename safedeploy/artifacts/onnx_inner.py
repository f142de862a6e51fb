"""Every layer of an ONNX file: its graph imported into torch, opened only if it answers as the file does."""

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from safedeploy.artifacts.base import Array, Inner, Unopenable
from safedeploy.artifacts.inner import PROBES, InnerReader, in_parts
from safedeploy.artifacts.onnx_encoding import decoded
from safedeploy.artifacts.onnx_import import Graph
from safedeploy.artifacts.onnx_session import VALUE_KEEPERS, one_line

if TYPE_CHECKING:
    from safedeploy.artifacts.onnx import OnnxArtifact

TOLERANCE = 1e-4  # of the largest logit
ROUNDED_TOLERANCE = 0.05  # of the largest logit, for the median: an integer's rounding may fall to the other side
CHECKED = 8  # samples
BATCH = 128


class OnnxInner:
    """The imported graph answers logits, or log-probabilities where the file ends in a softmax."""

    def __init__(self, artifact: "OnnxArtifact") -> None:
        """Raises Unopenable with the reason: an unknown operator, other answers, samples that are not kept apart."""
        self._artifact = artifact
        model = with_logits(
            decoded(onnx.load(str(artifact.path)), artifact.path),
            artifact.output_name,
            probabilities=artifact.probabilities,
        )
        self._rounded = artifact.quantised or any(
            one.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for one in model.graph.initializer
        )
        batch = artifact.batch if artifact.fixed_batch else None
        try:
            self.graph = Graph(model)
            self.module = _Fed(self.graph, artifact).eval()
            self._check(batch)
            self._reader = InnerReader(
                self.module, artifact.probes(PROBES, 1), self.graph.layers, batch, rounded=self._rounded
            )
        except Unopenable:
            raise
        except Exception as error:  # a damaged or unusual graph fails in any of torch's or ONNX's ways
            raise Unopenable(f"the importer fails on the graph: {one_line(error)}") from None

    def read(self, x: Array, y: NDArray[np.int64]) -> Inner:
        return in_parts(self._reader, x, y, min(BATCH, self._artifact.batch))

    def _check(self, batch: int | None) -> None:
        """On random inputs the graph in torch answers as the file does in its runtime."""
        x, size = self._artifact.probes(batch or CHECKED, 2), self._artifact.batch
        with torch.no_grad():
            parts = [self.module(torch.from_numpy(x[start : start + size])) for start in range(0, len(x), size)]
        ours, theirs = np.asarray(torch.cat(parts).float().numpy()), self._artifact.logits(x)
        if ours.shape != theirs.shape:
            raise Unopenable(f"the imported graph answers {ours.shape} where the file answers {theirs.shape}")
        if self._artifact.probabilities:
            ours, theirs = np.exp(ours), np.exp(theirs)
        wrong = np.abs(ours - theirs) / max(float(np.abs(theirs).max()), 1e-6)
        if not np.median(wrong) <= ROUNDED_TOLERANCE or not (wrong.max() <= TOLERANCE or self._rounded):
            raise Unopenable(f"the imported graph answers differently: by {wrong.max():.1g} of the largest logit")


class _Fed(nn.Module):
    """The graph on an artifact's samples: whole numbers as such, several inputs apart."""

    def __init__(self, graph: Graph, artifact: "OnnxArtifact") -> None:
        super().__init__()
        self.graph = graph
        self._several = len(artifact.inputs.names) > 1
        self._kinds = [_kind(dtype) for dtype in artifact.inputs.dtypes]

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unbind(1) if self._several else [x]
        answer: Tensor = self.graph(*(part.to(kind) for part, kind in zip(parts, self._kinds, strict=True)))
        return answer


def _kind(dtype: Any) -> torch.dtype:
    """Half precision is computed in float32."""
    if np.dtype(dtype).kind != "f":
        return torch.int64
    return torch.float64 if np.dtype(dtype).itemsize == 8 else torch.float32


def with_logits(model: onnx.ModelProto, output: str, *, probabilities: bool) -> onnx.ModelProto:
    """`model` with the one output `output`, and where it answers probabilities with their logarithms instead.

    A softmax at the end becomes LogSoftmax, whose gradient is exact where a softmax rounds to 0; what follows it to
    quantise or to label the probabilities is left out. Probabilities of another origin get a logarithm behind them.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    producers = {name: node for node in graph.node for name in node.output}
    name, node = output, producers.get(output)
    while node is not None and (node.op_type in VALUE_KEEPERS or node.op_type == "ZipMap"):
        name, node = node.input[0], producers.get(node.input[0])
    if not probabilities:
        name = output
    elif node is not None and node.op_type == "Softmax":
        node.op_type = "LogSoftmax"
    else:
        lowest = numpy_helper.from_array(np.array(np.finfo(np.float32).tiny, dtype=np.float32), "safedeploy_lowest")
        graph.initializer.append(lowest)
        graph.node.append(helper.make_node("Max", [name, lowest.name], ["safedeploy_clipped"]))
        graph.node.append(helper.make_node("Log", ["safedeploy_clipped"], ["safedeploy_logarithms"]))
        name = "safedeploy_logarithms"
    del graph.output[:]
    graph.output.append(onnx.ValueInfoProto(name=name))
    _drop_unused(graph)
    return changed


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Only the nodes that the outputs depend on; the nodes of a valid graph are in order."""
    needed, kept = {one.name for one in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
