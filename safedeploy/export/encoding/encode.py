"""The last step of an ONNX export: every weight as its smallest code, the graph as few bytes, the answers the same."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from safedeploy.export.encoding.compact import compact
from safedeploy.export.encoding.functions import DOMAIN, VERSION, functions
from safedeploy.export.encoding.tensor import Writer, write
from safedeploy.rundir import write_bytes

TYPES = (np.float32, np.int8)
SMALLEST = 64  # numbers of a tensor that is looked at


@dataclass(frozen=True)
class Encoding:
    """What became of a file: its bytes before and after, and how many weights each codec stores."""

    before_bytes: int
    after_bytes: int
    codecs: dict[str, int]


def encode(source: Path, path: Path) -> Encoding:
    """Write the ONNX file `source`, weights inside, as `path` with its weights coded."""
    before = source.read_bytes()
    model = onnx.load_model_from_string(before)
    codecs = encode_model(model)
    after = model.SerializeToString(deterministic=True)
    write_bytes(path, after)
    return Encoding(len(before), len(after), codecs)


def encode_model(model: onnx.ModelProto) -> dict[str, int]:
    """In place; how many weights each codec stores."""
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shown = {value.name for value in (*graph.input, *graph.output)}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(stored) | shown
    writer = Writer(taken)
    compact(model, writer.fresh)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: a for name, a in stored.items() if a.dtype in TYPES and a.size >= SMALLEST and name not in shown}
    coded = write(writer, weights)
    kept = [tensor for tensor in graph.initializer if tensor.name not in coded]
    nodes = [*writer.nodes, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *writer.arrays])
    graph.node.extend(nodes)
    if writer.called:
        model.functions.extend(functions(writer.called))
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    return dict(Counter(coded.values()))
