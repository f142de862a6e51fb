"""`safedeploy bench`: time and weigh exported files on this machine, an emulated one, or a real device."""

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
        str,
        typer.Option("--device", help="local, qemu-arm64, ssh:USER@HOST, adb[:SERIAL]; see 'safedeploy device list'."),
    ] = "local",
    cores: Annotated[
        str | None, typer.Option("--cores", help="The cores to keep to: 0,1 or 4-7; ssh, adb: also big or little.")
    ] = None,
    cooldown: Annotated[
        float, typer.Option("--cooldown", min=0, help="Seconds a file may wait for the device to be as cool as before.")
    ] = 60.0,
    python: Annotated[
        str | None, typer.Option("--python", help="ssh, adb: the device's own Python, with numpy and the runtime.")
    ] = None,
    executor_runner: Annotated[
        Path | None, typer.Option("--executor-runner", help="ssh, adb: ExecuTorch's, built for the device, for .pte.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", help="Emulated: how many inputs both machines answer.")] = 200,
    json: o.JsonOption = False,
) -> None:
    """Latency percentiles, load time, memory and sizes, in the file's real runtime; emulated: agreement alone."""
    from safedeploy import pipeline
    from safedeploy.bench.devices.choose import choose
    from safedeploy.bench.measure import UnfinishedError
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_agreements, show_timings

    place = choose(device, cores=cores, python=python, executor_runner=executor_runner)
    if place.emulated:
        with shown() as progress:
            agreements = pipeline.agree(files, place, samples=samples, progress=progress)
        show_agreements(agreements, json=json)
        raise typer.Exit(0 if all(one.within for one in agreements) else 1)
    try:
        with shown() as progress:
            timings = pipeline.bench(
                files,
                protocol="full" if full else "quick",
                threads=threads,
                device=place,
                cooldown=cooldown,
                progress=progress,
            )
    except UnfinishedError as error:
        show_timings(error.timings, json=json)
        raise
    show_timings(timings, json=json)
