"""A torch module as one float32 ONNX file: torch's dynamo exporter, an open batch axis, no trace of the author."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from safedeploy.errors import UserError, missing_extra
from safedeploy.export.quiet import quiet
from safedeploy.export.trace import reason, trace
from safedeploy.rundir import write_bytes

if TYPE_CHECKING:
    import torch

INPUT, OUTPUT = "input", "logits"


def export_onnx(
    module: "torch.nn.Module", input_shape: tuple[int, ...], path: Path, *, opset: int, model_name: str
) -> None:
    """Write `module` (eval mode) to `path`: "input" (batch, *input_shape) float32 → "logits" (batch, classes) float32.

    The same weights give the same bytes. Raises UserError when the exporter cannot express the module at `opset`.
    """
    import torch

    program = trace(module, input_shape, model_name, batch=None)
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                external_data=False,
                verbose=False,
            )
            assert exported is not None
            save(exported.model_proto, path)
    except UserError:
        raise
    except ImportError:
        raise missing_extra("the ONNX export", "train") from None
    except Exception as error:
        why = reason(error.__cause__ or error)
        raise UserError(f"cannot export {model_name} to ONNX opset {opset}: {why}") from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a checked model, weights inside, without the exporters' notes (source paths, class names, rewrites)."""
    anonymous(model)
    # the exporters write a newer one than the operators need, which older runtimes refuse
    needed = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = min(model.ir_version, needed)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString(deterministic=True))


def anonymous(model: onnx.ModelProto) -> None:
    """Strip every doc string and metadata property, in place, in subgraphs and functions too."""
    _strip(model)
    _strip_graph(model.graph)
    for function in model.functions:
        _strip(function)
        _strip_nodes(function.node)
        for value in function.value_info:
            _strip(value)


def _strip_graph(graph: onnx.GraphProto) -> None:
    _strip(graph)
    for part in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        _strip(part)
    _strip_nodes(graph.node)


def _strip_nodes(nodes: "list[onnx.NodeProto]") -> None:
    for node in nodes:
        _strip(node)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.type == onnx.AttributeProto.GRAPH:
                _strip_graph(attribute.g)


def _strip(part: Any) -> None:
    part.ClearField("doc_string")
    part.ClearField("metadata_props")
