"""A torch module as an ExecuTorch program (.pte), float32 or static int8 (PT2E), with XNNPACK taking what it can.

The batch is 1, as a phone asks. An open batch axis would not be sound here: ExecuTorch plans all memory ahead from the
axis' upper bound (torch.export narrows the bound that was asked for), a bigger batch fails at run time, and XNNPACK
takes fewer operators of the graph (a reshape by a symbolic size is left to the portable kernels).
"""

import dataclasses
from collections import Counter, OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError, missing_extra
from safedeploy.export.pte_inline import inlined
from safedeploy.export.quiet import quiet
from safedeploy.export.targets import Quantisation
from safedeploy.export.trace import reason, trace
from safedeploy.results import Delegation
from safedeploy.rundir import write_bytes

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

BATCH = 64

# XNNPACKQuantizer's own floor for a weight's scale, 2^-12, leaves a channel of small weights with a handful of levels.
SMALLEST_WEIGHT_SCALE = 2.0**-20
SMALLEST_ACTIVATION_SCALE = 2.0**-12


def require_executorch() -> None:
    """Raises UserError naming the extra when ExecuTorch is not installed."""
    try:
        with quiet():
            import executorch.exir  # noqa: F401
    except ImportError:
        raise missing_extra("the ExecuTorch export", "executorch") from None


def export_pte(module: "torch.nn.Module", input_shape: tuple[int, ...], path: Path, *, model_name: str) -> Delegation:
    """Write the float32 program of `module` (eval mode) to `path`; returns what XNNPACK took."""
    return _lower(trace(_inside(module), input_shape, model_name, batch=1), path, model_name)


def export_int8_pte(
    module: "torch.nn.Module",
    input_shape: tuple[int, ...],
    path: Path,
    calibration: NDArray[np.float32],
    how: Quantisation,
    *,
    model_name: str,
) -> Delegation:
    """Write the static int8 program; `calibration` is (n, *input_shape), preprocessed. Returns what XNNPACK took.

    Weights are symmetric, so a weight of zero stays exactly zero.
    """
    import torch

    graph = trace(_inside(module), input_shape, model_name, batch=None).module()
    try:
        with quiet(), torch.no_grad():
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            observed = prepare_pt2e(graph, _quantizer(how))
            for start in range(0, len(calibration), BATCH):
                observed(torch.from_numpy(calibration[start : start + BATCH]))
            quantised = convert_pt2e(observed)
    except Exception as error:
        raise UserError(f"cannot quantise {model_name} for ExecuTorch: {reason(error)}") from error
    return _lower(trace(quantised, input_shape, model_name, batch=1), path, model_name)


def _inside(module: "torch.nn.Module") -> "torch.nn.Module":
    """The module under a name: ExecuTorch 1.4 cannot fuse a batch normalisation whose weight is called '0.weight'."""
    import torch

    return torch.nn.Sequential(OrderedDict(model=module)).eval()


def _quantizer(how: Quantisation) -> Any:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

    from safedeploy.export.pte_scales import ActivationRange, ChannelRange, TensorRange

    config = xnnpack.get_symmetric_quantization_config(is_per_channel=how.per_channel)
    weights = (ChannelRange if how.per_channel else TensorRange).with_args(eps=SMALLEST_WEIGHT_SCALE)
    activations = ActivationRange.with_args(eps=SMALLEST_ACTIVATION_SCALE)
    activation = dataclasses.replace(config.input_activation, observer_or_fake_quant_ctr=activations)
    config = dataclasses.replace(
        config,
        input_activation=activation,
        output_activation=activation,
        weight=dataclasses.replace(config.weight, observer_or_fake_quant_ctr=weights),
    )
    return xnnpack.XNNPACKQuantizer().set_global(config)


def _lower(program: "ExportedProgram", path: Path, model_name: str) -> Delegation:
    try:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            delegation = _delegation(edge.exported_program().graph_module)
            content = inlined(edge.to_executorch().buffer)
    except Exception as error:
        raise UserError(f"cannot export {model_name} to ExecuTorch: {reason(error)}") from error
    write_bytes(path, content)
    return delegation


def _delegation(graph: "torch.fx.GraphModule") -> Delegation:
    """Operators inside the delegates (quantise and dequantise apart: XNNPACK folds them) and those left outside."""
    from executorch.exir.lowered_backend_module import get_lowered_submodules

    delegates = [lowered.original_module.graph_module for _, lowered, _ in get_lowered_submodules(graph)]
    inside = [name for delegate in delegates for name in _operators(delegate)]
    return Delegation(
        delegate="xnnpack",
        delegated=sum("quantize_per" not in name for name in inside),
        left=dict(sorted(Counter(_operators(graph)).items())),
    )


def _operators(graph: "torch.fx.GraphModule") -> list[str]:
    """Names such as aten.linear.default of a graph's calls; tuple access and delegate calls are no operators."""
    from executorch.exir.dialects.edge._ops import EdgeOpOverload
    from torch._ops import OpOverload

    calls = (node.target for node in graph.graph.nodes if node.op == "call_function")
    overloads = (call._op if isinstance(call, EdgeOpOverload) else call for call in calls)
    return [str(overload) for overload in overloads if isinstance(overload, OpOverload)]
