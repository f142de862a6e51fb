"""`safedeploy export`: the bundle that ships, every file verified in its runtime."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def export(
    run: Annotated[Path, typer.Argument(help="A run, as runs/NAME.")],
    target: o.TargetOption = None,
    json: o.JsonOption = False,
) -> None:
    """Export a run's model to ONNX and ExecuTorch, float32 and int8, and check each file's answers."""
    from safedeploy import pipeline
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_manifest
    from safedeploy.export.sizes import require_within

    with shown() as progress:
        manifest = pipeline.export(run, target, progress=progress)
    show_manifest(manifest, json=json)
    require_within(manifest)
