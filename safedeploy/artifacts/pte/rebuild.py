"""A .pte file's program as a torch module with the file's own weights."""

from functools import partial

import torch

from safedeploy.artifacts.pte import kernels, nodes
from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.module import Builder, Rebuilt
from safedeploy.artifacts.pte.program import Call, Program, TensorValue, read_program
from safedeploy.artifacts.pte.xnnpack import BACKEND, read_graph

# What torch raises for shapes, types and arguments that do not fit together.
FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError)


def rebuild(data: bytes) -> Rebuilt:
    """The module that answers (n, *input_shape) as the program does. Raises Unreadable with the reason where it cannot.

    The global random state is left as it was.
    """
    program = read_program(data)
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise Unreadable(f"the program has {len(program.inputs)} inputs and {len(program.outputs)} outputs")
    with torch.random.fork_rng(devices=[]):
        try:
            return _rebuild(program)
        except FAULTS as error:
            reason = " ".join(str(error).split())[:200]
            raise Unreadable(f"the file's weights and operators do not fit together: {reason}") from None


def _rebuild(program: Program) -> Rebuilt:
    builder = Builder(program)
    for call in program.calls:
        if call.kernel:
            kernels.call(program, builder, call.kernel, call.arguments)
        else:
            _delegate(program, builder, call)
    return builder.finish()


def _delegate(program: Program, builder: Builder, call: Call) -> None:
    if not 0 <= call.delegate < len(program.delegates):
        raise Unreadable(f"the file is damaged: it calls delegate {call.delegate} of {len(program.delegates)}")
    delegate = program.delegates[call.delegate]
    if delegate.backend != BACKEND:
        raise Unreadable(f"the weights are inside the delegate {delegate.backend}, which is opaque")
    graph = read_graph(delegate.payload, program.named)
    given = {value.external for name, value in graph.values.items() if name in graph.outputs}
    externals, after = {}, []
    for place, number in enumerate(call.arguments):
        value = program.values[number]
        order = value.dim_order if isinstance(value, TensorValue) else ()
        if order == tuple(range(len(order))):
            externals[place] = number
            continue
        externals[place] = builder.fresh()
        if place in given:
            back = tuple(order.index(axis) for axis in range(len(order)))
            after.append((partial(torch.permute, dims=back), externals[place], number))
        else:
            builder.add(partial(torch.permute, dims=order), [number], externals[place])
    nodes.lower(graph, builder, externals)
    for run, source, target in after:
        builder.add(run, [source], target)
