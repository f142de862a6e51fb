"""The last step of an ONNX export: every weight as its smallest code, the graph as few bytes, the answers the same."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.onnx_encoding import DOMAIN, decodes_at_every_inference, is_encoded
from safedeploy.errors import UserError
from safedeploy.export.encoding.compact import compact
from safedeploy.export.encoding.functions import VERSION, functions
from safedeploy.export.encoding.qdq import drop_derived
from safedeploy.export.encoding.tensor import Writer, write
from safedeploy.rundir import write_bytes

RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"
ADVICE = "set sparse = false under [encoding] in a target file"
TYPES = (np.float32, np.int8)
SMALLEST = 64  # numbers of a tensor that is looked at
PROBES = 8


@dataclass(frozen=True)
class Encoding:
    """What became of a file: its bytes before and after, and how many weights each codec stores."""

    before_bytes: int
    after_bytes: int
    codecs: dict[str, int]


def encode(source: Path, path: Path) -> Encoding:
    """Write the ONNX file `source`, weights inside, as `path`: smaller, with the same answers bit for bit.

    A file without sparse weights is left as it is. `path` may be `source`.
    Raises UserError where ONNX Runtime would answer otherwise, or decode at every inference.
    """
    before = source.read_bytes()
    model = onnx.load_model_from_string(before)
    codecs = encode_model(model)
    if not is_encoded(model):
        write_bytes(path, before)
        return Encoding(len(before), len(before), {})
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        made.write_bytes(model.SerializeToString(deterministic=True))
        _require_same(source, made)
        write_bytes(path, made.read_bytes())
        return Encoding(len(before), made.stat().st_size, codecs)


def encode_model(model: onnx.ModelProto) -> dict[str, int]:
    """In place; how many weights each codec stores. Names inside the graph become short ones."""
    graph = model.graph
    shown = {value.name for value in (*graph.input, *graph.output)}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    writer = Writer(taken | shown | {tensor.name for tensor in graph.initializer})
    compact(model, writer.fresh)
    drop_derived(model, writer.fresh)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name not in shown}
    weights = {name: a for name, a in stored.items() if a.size >= SMALLEST and (a.dtype in TYPES or not a.any())}
    coded = write(writer, weights)
    kept = [tensor for tensor in graph.initializer if tensor.name not in coded]
    nodes = [*writer.nodes, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *writer.arrays])
    graph.node.extend(nodes)
    if writer.called:
        opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
        model.functions.extend(functions(writer.called, opset))
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    return dict(Counter(coded.values()))


def _require_same(source: Path, made: Path) -> None:
    plain, encoded = OnnxArtifact(source, threads=1), OnnxArtifact(made, threads=1)
    x = plain.probes(PROBES, 0)
    if not np.array_equal(plain.answers(x), encoded.answers(x)):
        raise UserError(f"{source.name}: {RUNTIME} answers otherwise once its weights are encoded; {ADVICE}")
    if decodes_at_every_inference(onnx.load(made), made):
        raise UserError(f"{source.name}: {RUNTIME} would decode its weights at every inference; {ADVICE}")
