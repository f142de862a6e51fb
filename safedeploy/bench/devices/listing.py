"""What --device can name, and what is missing for it."""

import shutil
from typing import Literal

from safedeploy.bench.devices.tree import cpu, emulator
from safedeploy.bench.devices.tree.build import open_tree, tree_folder
from safedeploy.bench.runner import machine
from safedeploy.errors import UserError
from safedeploy.results import Result

PREPARE = "'safedeploy device prepare arm64'"


class Listed(Result):
    """`device`: as --device takes it. `missing`: `detail` says what would bring it."""

    device: str
    state: Literal["ok", "missing"]
    detail: str


def listed() -> list[Listed]:
    """Every kind of device, local first."""
    here = machine()
    return [
        Listed(device="local", state="ok", detail=f"{here['cpu']}, {here['architecture']}, {here['cores']} cores"),
        _emulated(),
        _reached("ssh:USER@HOST[:PORT]", "ssh", "a machine with Python and the runtime, or 64-bit Arm Linux"),
        _reached("adb[:SERIAL]", "adb", "an Android phone or board (arm64)"),
    ]


def _emulated() -> Listed:
    name = f"qemu-arm64[:{'|'.join(cpu.CPUS)}]"
    try:
        tree = open_tree()
    except UserError as error:
        return Listed(device=name, state="missing", detail=str(error))
    found = emulator.find(tree_folder())
    if found is None:
        return Listed(device=name, state="missing", detail=f"no emulator: install qemu-user-static, or {PREPARE}")
    runtimes = ", ".join(f"{one.name} {one.version}" for one in tree.lock.packages if one.file.endswith(".whl"))
    detail = f"Python {tree.lock.python}, {runtimes} in {tree.folder}, {found}; agreement only, no latency"
    return Listed(device=name, state="ok", detail=detail)


def _reached(device: str, client: str, what: str) -> Listed:
    path = shutil.which(client)
    if path is None:
        return Listed(device=device, state="missing", detail=f"{what}; no {client} on the path")
    return Listed(device=device, state="ok", detail=f"{what}, through {path}")
