"""`safedeploy report`: the one page, out of a run's result files."""

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="A run, as runs/NAME.")]) -> None:
    """Write report.html of a run, from what is on disk."""
    from safedeploy import pipeline

    print(pipeline.report(run))
