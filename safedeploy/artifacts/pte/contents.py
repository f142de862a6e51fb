"""What a .pte file holds, for `inspect`: its operators, and every stored tensor as it is stored."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from safedeploy.artifacts.pte.program import Program, TensorValue, read_program
from safedeploy.artifacts.pte.xnnpack import BACKEND, Graph, read_graph

ROLES = {"filter": "weight", "bias": "bias"}


def operators(data: bytes) -> dict[str, int]:
    """Nodes of XNNPACK's graphs by their kind, calls of kernels by their name, other delegates by their backend.

    Raises Unreadable where the bytes do not follow their schemas.
    """
    program = read_program(data)
    names = [call.kernel.partition(".")[0] for call in program.calls if call.kernel]
    for delegate in program.delegates:
        if delegate.backend == BACKEND:
            graph = read_graph(delegate.payload, program.named)
            names += [f"xnnpack::{node.kind}" for node in graph.nodes]
        else:
            names.append(delegate.backend)
    return dict(sorted(Counter(names).items()))


def tensors(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """(name, values) of constants, as stored: int8 weights are integers, convolutions' weights are in XNNPACK's order.

    Weights are called after their layers, numbered through all graphs: conv1.weight. Raises as `operators` does.
    """
    program = read_program(data)
    for number, value in enumerate(program.values):
        if isinstance(value, TensorValue) and value.constant is not None:
            yield f"constant{number}", value.constant
    count: Counter[str] = Counter()
    for place, graph in _graphs(program):
        names = _names(graph, count)
        for number, value in graph.values.items():
            if value.constant is None:
                continue
            name = names.get(number, f"delegate{place}.constant{number}")
            yield name, value.constant
            if value.scales is not None:
                yield f"{name}.scale", value.scales.scale


def _graphs(program: Program) -> Iterator[tuple[int, Graph]]:
    """XNNPACK's graphs in the order of their calls."""
    places = dict.fromkeys(call.delegate for call in program.calls if 0 <= call.delegate < len(program.delegates))
    for place in places:
        if program.delegates[place].backend == BACKEND:
            yield place, read_graph(program.delegates[place].payload, program.named)


def _names(graph: Graph, count: "Counter[str]") -> dict[int, str]:
    """Names of the weights and biases of a graph's layers, by the number of the value; `count` goes on."""
    names: dict[int, str] = {}
    for node in graph.nodes:
        if "filter" not in node.fields:
            continue
        kind = "linear" if node.kind == "FullyConnected" else "conv"
        count[kind] += 1
        for field, role in ROLES.items():
            names.setdefault(node[field], f"{kind}{count[kind]}.{role}")
    return names
