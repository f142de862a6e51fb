"""`safedeploy inspect`: what is in a model file."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def inspect(
    file: Annotated[Path, typer.Argument(help="An .onnx or .pte file, recognised by content.")],
    json: o.JsonOption = False,
) -> None:
    """List what a model file holds: input, classes, operators, stored tensors with their density and bytes."""
    from safedeploy import pipeline
    from safedeploy.cli.show import show_inspection

    show_inspection(pipeline.inspect(file), json=json)
