"""`safedeploy device`: what a benchmark can run on, and the aarch64 tree that emulated and real Arm devices run."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o

device = typer.Typer(help="Prepare and list what a benchmark can run on.", add_completion=False, no_args_is_help=True)


@device.command()
def prepare(
    kind: Annotated[str, typer.Argument(help="arm64: the relocatable aarch64 tree of Python, numpy and runtimes.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Its folder; SAFEDEPLOY_ARM64 or the cache by default.")
    ] = None,
    sysroot: Annotated[
        Path | None, typer.Option("--sysroot", help="Take Python and libraries from this aarch64 system, not from apt.")
    ] = None,
    executorch: Annotated[
        bool,
        typer.Option("--executorch", help="With ExecuTorch and torch, for .pte files: 0.5 GB to fetch, 1 GB on disk."),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Fetch every package again.")] = False,
    json: o.JsonOption = False,
) -> None:
    """Build the tree once, every hash checked; at once done where it is there unharmed."""
    from safedeploy.bench.devices.qemu import prepare as prepare_tree
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import print_json
    from safedeploy.errors import unknown

    if kind != "arm64":
        raise unknown("kind of device", kind, ["arm64"])
    with shown() as progress:
        prepared = prepare_tree(
            to, executorch=executorch, sysroot=sysroot, fresh=fresh, progress=progress("prepare arm64")
        )
    lock = prepared.tree.lock
    if json:
        print_json(lock.model_dump(mode="json", by_alias=True))
        return
    wheels = ", ".join(f"{one.name} {one.version}" for one in lock.packages if one.file.endswith(".whl"))
    print(f"{prepared.tree.folder}: Python {lock.python}, {wheels}; {lock.files:,} files, {lock.size_bytes:,} bytes")
    print(f"{len(lock.packages)} packages, each sha256 checked: {prepared.tree.folder / 'tree.json'}")
    print(f"emulator: {prepared.emulator or 'none here; the tree serves real devices, --device qemu-arm64 needs one'}")


@device.command("list")
def list_devices(json: o.JsonOption = False) -> None:
    """What --device can name, and whether it can be had now."""
    from safedeploy.bench.devices.listing import listed
    from safedeploy.cli.show import print_json, table

    found = listed()
    if json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        table("Devices", ["--device", "state", "detail"], [[one.device, one.state, one.detail] for one in found])
