"""How much of what an int8 file rounds lies beyond the range it holds, on inputs that did not set the ranges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from safedeploy.artifacts.base import Array, Unopenable
from safedeploy.artifacts.onnx_encoding import decoded
from safedeploy.artifacts.onnx_ports import read_inputs
from safedeploy.artifacts.onnx_session import open_session
from safedeploy.results import Saturation

BATCH = 32
SAMPLES = 256
STEPS = 1.5  # rounding reaches half a step beyond the last; a range that ends a step early loses next to nothing


def saturation(path: Path, x: Array) -> Saturation:
    """Of the int8 file `path` on the first SAMPLES of x (n, *input_shape).

    Raises Unopenable with the reason where the file does not show its inside.
    """
    x = x[:SAMPLES]
    if path.suffix == ".onnx":
        return _onnx_saturation(path, x)
    return _pte_saturation(path, x)


def _onnx_saturation(path: Path, x: Array) -> Saturation:
    """The file's own graph with what goes into every QuantizeLinear as outputs beside its own.

    Where a range begins at 0, values below it are a ReLU's: ONNX Runtime's quantiser leaves that to the rounding.
    """
    model = decoded(onnx.load(path), path)
    constants = {one.name: one for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if _rounds_an_activation(node, constants)]
    if not nodes:
        raise Unopenable("the file rounds no activation")
    rounded = {node.output[0]: node.input[0] for node in nodes}
    ranges = {node.input[0]: _range(node, constants) for node in nodes}
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ranges if name not in present)
    session = open_session(model.SerializeToString(), path, 1)
    beyond = dict.fromkeys(ranges, 0)
    seen = dict.fromkeys(ranges, 0)
    inputs = read_inputs(session, path, x.shape[1:])
    for start in range(0, len(x), BATCH):
        given = session.run(list(ranges), inputs.feed(x[start : start + BATCH]))
        for (name, (low, high)), values in zip(ranges.items(), given, strict=True):
            beyond[name] += int(((values < low) | (values > high)).sum())
            seen[name] += values.size
    last = {node.output[0]: node for node in model.graph.node}.get(model.graph.output[0].name)
    logits = rounded.get(last.input[0]) if last is not None and last.op_type == "DequantizeLinear" else None
    return _told(list(ranges), list(beyond.values()), list(seen.values()), logits, len(x))


def _rounds_an_activation(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    return (
        node.op_type == "QuantizeLinear"
        and node.input[0] not in constants
        and len(node.input) == 3
        and all(name in constants for name in node.input[1:])
    )


def _range(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[float, float]:
    """The real values beyond which the node clips; no lower end where it is a ReLU's 0."""
    scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
    limits = np.iinfo(zero_point.dtype)
    step, zero = float(scale.max()), int(zero_point.max())
    low = (limits.min - zero - STEPS) * step if zero > limits.min else -np.inf
    return low, (limits.max - zero + STEPS) * step


def _pte_saturation(path: Path, x: Array) -> Saturation:
    """The program rebuilt; every rounding in it ends in one clamp to the 256 steps, before which this looks.

    Where those begin at 0, values below are a ReLU's, as in an ONNX file: XNNPACK leaves it to the rounding too.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    from safedeploy.artifacts.pte.rebuild import rebuild

    module = rebuild(path.read_bytes())
    beyond: list[int] = []
    seen: list[int] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if function is torch.Tensor.clamp and len(args) == 3 and args[2] - args[1] == 255:
                levels: torch.Tensor = args[0]
                low = args[1] - STEPS if args[1] < 0 else -np.inf
                beyond.append(int(((levels < low) | (levels > args[2] + STEPS)).sum()))
                seen.append(levels.numel())
            return function(*args, **(kwargs or {}))

    totals: list[tuple[list[int], list[int]]] = []
    with torch.no_grad(), Watch():
        for start in range(0, len(x), BATCH):
            beyond, seen = [], []
            module(torch.from_numpy(x[start : start + BATCH]))
            totals.append((beyond, seen))
    if not totals[0][1]:
        raise Unopenable("the file rounds no activation")
    counts = [[sum(column) for column in zip(*part, strict=True)] for part in zip(*totals, strict=True)]
    names = [f"rounding {number} of {len(counts[0])}" for number in range(1, len(counts[0]) + 1)]
    return _told(names, counts[0], counts[1], names[-1], len(x))


def _told(
    names: Sequence[str], beyond: Sequence[int], seen: Sequence[int], logits: str | None, samples: int
) -> Saturation:
    shares = {name: out / of for name, out, of in zip(names, beyond, seen, strict=True)}
    worst = max(shares, key=lambda name: shares[name])
    return Saturation(
        samples=samples,
        tensors=len(shares),
        activations=sum(beyond) / sum(seen),
        worst=worst,
        worst_share=shares[worst],
        logits=shares[logits] if logits is not None else None,
    )
