"""A module's graph by torch.export: what every exporter here starts from."""

from typing import TYPE_CHECKING

from safedeploy.artifacts.tokens import takes_tokens
from safedeploy.errors import UserError
from safedeploy.export.quiet import quiet

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def trace(
    module: "torch.nn.Module", input_shape: tuple[int, ...], model_name: str, *, batch: int | None
) -> "ExportedProgram":
    """The graph of a module in eval mode on (batch, *input_shape); `batch` None keeps that axis open.

    Inputs are float32, or int64 where the module takes tokens.

    Raises UserError when torch.export cannot follow the module's forward.
    """
    import torch

    dtype = torch.int64 if takes_tokens(module) else torch.float32
    # an open axis must not be seen as 1: torch.export would fix it
    example = torch.zeros(batch or 2, *input_shape, dtype=dtype)
    open_axis = ({0: torch.export.Dim("batch")},) if batch is None else None
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(module, (example,), dynamic_shapes=open_axis)
    except Exception as error:  # whatever a user's own forward raises
        raise UserError(
            f"cannot export {model_name}: torch.export fails on its forward ({reason(error)}); "
            "use tensor operations only, and no number that fixes the batch size"
        ) from error
    _pool_without_padding(program.graph_module)
    return program


def _pool_without_padding(graph: "torch.fx.GraphModule") -> None:
    """Where nothing is padded, let average pooling not count padding: the same function, in the form XNNPACK takes."""
    import torch

    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.avg_pool2d.default:
            given = [*node.args, *[None, None, [], [0, 0], False][len(node.args) :]]
            if not any(given[3]):
                node.args = (*given[:5], False, *given[6:])
    graph.recompile()


def reason(error: BaseException) -> str:
    """The first line of what went wrong, in one line of at most 200 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
