"""`safedeploy bench`: time and weigh exported files on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def bench(
    files: Annotated[
        list[Path], typer.Argument(help="Files to time; several are alternated, ratios against the first.")
    ],
    full: Annotated[
        bool, typer.Option("--full", help="1,024 queries and 60 s a file instead of 128 and 10 s.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1)] = 1,
    json: o.JsonOption = False,
) -> None:
    """Latency percentiles, load time, memory and sizes, in the file's real runtime."""
    from safedeploy import pipeline
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_timings

    with shown() as progress:
        timings = pipeline.bench(files, protocol="full" if full else "quick", threads=threads, progress=progress)
    show_timings(timings, json=json)
