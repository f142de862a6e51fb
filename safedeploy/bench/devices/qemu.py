"""Arm under emulation: the runner in the aarch64 tree, in QEMU's user mode. Answers count, speed means nothing."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from safedeploy.artifacts.recognise import recognise
from safedeploy.bench.devices.local import RUNNER, started
from safedeploy.bench.devices.tree import build, emulator
from safedeploy.bench.devices.tree import cpu as arm
from safedeploy.bench.devices.tree.build import Tree, command, environment, open_tree, tree_folder
from safedeploy.errors import UserError, unknown

# the module of a runtime that loads its native code
MODULES = {"onnxruntime": "onnxruntime", "executorch": "torch, executorch.extension.pybindings._portable_lib"}


@dataclass(frozen=True)
class Emulation:
    """A connection to nothing: a way to run programs of the tree. `served`: what the program sees as /proc and /sys."""

    name: str
    qemu: Path
    cpu: str
    root: Path
    served: Path
    cores: None = None

    @property
    def facts(self) -> dict[str, str]:
        return {"emulator": str(self.qemu), "emulated core": self.cpu}

    def state(self) -> None:
        return None

    def push(self, file: Path) -> str:
        return str(file.resolve())

    def fetch(self, place: str, file: Path) -> None:
        if Path(place) != file.resolve():
            shutil.copyfile(place, file)

    def start(self, model: Path, log: IO[bytes]) -> tuple["subprocess.Popen[bytes]", str]:
        if recognise(model) == "executorch" and not (self.root / "site" / "executorch").is_dir():
            how = "safedeploy device prepare arm64 --executorch"
            raise UserError(f"{model} needs ExecuTorch, which the aarch64 tree was built without: '{how}'")
        return started(self.command(str(RUNNER)), log, self.environment()), self.push(model)

    def command(self, script: str) -> list[str]:
        return [str(self.qemu), "-cpu", self.cpu, "-L", str(self.served), *command(str(self.root), script)]

    def environment(self) -> dict[str, str]:
        """Ours, without what is meant for this machine's Python and loader."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_", "QEMU_"))}
        return ours | environment(str(self.root))


@dataclass(frozen=True)
class QemuArm64:
    """`cpu`: which core is emulated, of `tree.cpu.CPUS`. `folder`: of the tree; None: the user's."""

    cpu: str = arm.DEFAULT
    folder: Path | None = None
    emulated: bool = True

    @property
    def name(self) -> str:
        return f"qemu-arm64:{self.cpu}"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Emulation]:
        """Raises UserError where the tree or the emulator is not there, with the command that brings it."""
        if self.cpu not in arm.CPUS:
            raise unknown("emulated core", self.cpu, arm.CPUS)
        tree = open_tree(self.folder)
        with emulation(self.name, emulator.require(tree.folder), self.cpu, tree.root) as opened:
            yield opened


@contextlib.contextmanager
def emulation(name: str, qemu: Path, cpu: str, root: Path) -> Iterator[Emulation]:
    """A way into the tree at `root` for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="safedeploy-arm64.") as served:
        arm.write(cpu, Path(served))
        yield Emulation(name, qemu, cpu, root, Path(served))


@dataclass(frozen=True)
class Prepared:
    """`emulator`: None where none can be had; the tree then serves real devices alone, and was not tried out."""

    tree: Tree
    emulator: Path | None


def prepare(
    folder: Path | None = None,
    *,
    executorch: bool = False,
    sysroot: Path | None = None,
    fresh: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Prepared:
    """The tree and its emulator, fetched unless they are there; a new tree is tried out before it is put in place.

    Raises UserError, one line, where something cannot be had, is not what its list says, or does not run.
    """
    place = tree_folder(folder).absolute()
    with build.alone(place):
        qemu = emulator.fetch(place)

        def tried(root: Path) -> None:
            modules = [module for runtime, module in MODULES.items() if (root / "site" / runtime).is_dir()]
            if qemu is not None:
                try_out(qemu, root, modules)

        built = build.prepare(
            place, executorch=executorch, sysroot=sysroot, fresh=fresh, try_out=tried, progress=progress
        )
    return Prepared(built, qemu)


def try_out(qemu: Path, root: Path, modules: Sequence[str]) -> None:
    """Import `modules` in the tree at `root`. Raises UserError with Python's or the loader's last words."""
    with emulation("qemu-arm64", qemu, arm.DEFAULT, root) as opened, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "try_out.py"
        script.write_text(f"import {', '.join(modules)}\n")
        done = subprocess.run(
            opened.command(str(script)), env=opened.environment(), capture_output=True, text=True, errors="replace"
        )
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise UserError(f"the aarch64 tree does not run under {qemu}: {words[-1][:300]}; build it with --fresh")
