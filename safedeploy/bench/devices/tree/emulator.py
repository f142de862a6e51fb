"""QEMU's user-mode emulator of 64-bit Arm: the one on the path, or Debian's, unpacked beside the tree."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from safedeploy.bench.devices.tree import debian
from safedeploy.errors import UserError
from safedeploy.rundir import make_folder

NAMES = ("qemu-aarch64-static", "qemu-aarch64")
PACKAGE = "qemu-user-static"


def find(folder: Path) -> Path | None:
    """The emulator on the path, else the one under `folder`/tools."""
    on_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if on_path:
        return Path(on_path)
    return next((path for name in NAMES if (path := folder / "tools" / name).is_file()), None)


def require(folder: Path) -> Path:
    """The emulator. Raises UserError that says how to get one."""
    if found := find(folder):
        return found
    raise UserError(
        f"no {NAMES[0]} here: install Debian's {PACKAGE} (apt-get install {PACKAGE}), or let "
        "'safedeploy device prepare arm64' unpack it where there is apt"
    )


def fetch(folder: Path) -> Path | None:
    """The emulator, unpacked from Debian's package into `folder`/tools where none is here; None where apt is not.

    Nothing of the system is touched. Raises UserError where apt cannot bring it.
    """
    if found := find(folder):
        return found
    if not debian.has_apt():
        return None
    downloads = folder / "downloads" / "emulator"
    native = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True).stdout.strip()
    packages = [one for one in debian.download([PACKAGE], native, downloads) if one.name.startswith("qemu-user")]
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".emulator.") as temporary:
        root = debian.unpack(packages, downloads, Path(temporary))
        for name in NAMES:
            if (root / "usr" / "bin" / name).is_file():
                tools = make_folder(folder / "tools")
                return Path(shutil.move(root / "usr" / "bin" / name, tools / name))
    raise UserError(f"Debian's {PACKAGE} has no {NAMES[0]}; install an emulator of aarch64 and put it on the path")
