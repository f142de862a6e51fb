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
    device: Annotated[
        str, typer.Option("--device", help="local or qemu-arm64[:CORE]; see 'safedeploy device list'.")
    ] = "local",
    cores: Annotated[str | None, typer.Option("--cores", help="The cores to keep to, as 0,1 or 4-7.")] = None,
    samples: Annotated[int, typer.Option("--samples", help="Emulated: how many inputs both machines answer.")] = 200,
    json: o.JsonOption = False,
) -> None:
    """Latency percentiles, load time, memory and sizes, in the file's real runtime; emulated: agreement alone."""
    from safedeploy import pipeline
    from safedeploy.bench.devices.choose import choose
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_agreements, show_timings

    place = choose(device, cores=cores)
    if place.emulated:
        with shown() as progress:
            agreements = pipeline.agree(files, place, samples=samples, progress=progress)
        show_agreements(agreements, json=json)
        raise typer.Exit(0 if all(one.within for one in agreements) else 1)
    with shown() as progress:
        timings = pipeline.bench(
            files, protocol="full" if full else "quick", threads=threads, device=place, progress=progress
        )
    show_timings(timings, json=json)
