"""`safedeploy report`: the one page, out of a run's result files."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def report(
    run: Annotated[Path, typer.Argument(help="A run, as runs/NAME.")],
    json: o.JsonOption = False,
) -> None:
    """Write report.html of a run, from what is on disk."""
    from safedeploy import pipeline
    from safedeploy.cli.show import print_json

    page = pipeline.report(run)
    print_json({"run": str(run), "report": str(page)}) if json else print(page)
