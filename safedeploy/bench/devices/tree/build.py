"""The aarch64 tree in the user's cache: built once from checked packages, known by its lock, rebuilt when damaged.

tree.json   the lock, written last      tree/   what a device gets      downloads/   what it was made of
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safedeploy.bench.devices.tree import debian, wheels
from safedeploy.bench.devices.tree.assemble import LOADER, assemble, find_python
from safedeploy.data.root import cache_folder
from safedeploy.errors import UserError
from safedeploy.results import Package, TreeLock
from safedeploy.rundir import make_folder, sha256

FOLDER = "SAFEDEPLOY_ARM64"
PACKAGES = ("python3", "libstdc++6", "libatomic1")
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Tree:
    """`folder`: with the lock. `root`: what a device gets; it may lie anywhere there."""

    folder: Path
    lock: TreeLock

    @property
    def root(self) -> Path:
        return self.folder / "tree"

    def has(self, runtime: str) -> bool:
        return any(package.name == runtime for package in self.lock.packages)


def command(root: str, script: str) -> list[str]:
    """What runs a Python script out of a tree that lies at `root`, on an aarch64 Linux kernel; see `environment`."""
    return [f"{root}/lib/{LOADER}", "--library-path", f"{root}/lib", f"{root}/bin/python3", "-S", script]


def environment(root: str) -> dict[str, str]:
    """What `command` needs in its environment beside."""
    return {
        "PYTHONHOME": root,
        "PYTHONPATH": f"{root}/site",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }


def tree_folder(folder: Path | None = None) -> Path:
    """`folder`, else the environment's SAFEDEPLOY_ARM64, else arm64/ in the user's cache; it need not exist."""
    if folder is not None:
        return folder
    given = os.environ.get(FOLDER)
    return Path(given).expanduser() if given else cache_folder() / "arm64"


def open_tree(folder: Path | None = None) -> Tree:
    """The tree that was prepared, every file as it was installed. Raises UserError where it is not, with the remedy."""
    place = tree_folder(folder)
    lock = intact(place)
    if lock is None:
        state = "is damaged" if (place / "tree.json").exists() else "is not there"
        raise UserError(f"the aarch64 tree in {place} {state}: make it with 'safedeploy device prepare arm64'")
    return Tree(place, lock)


def prepare(
    folder: Path | None = None,
    *,
    executorch: bool = False,
    sysroot: Path | None = None,
    fresh: bool = False,
    try_out: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> Tree:
    """The tree, made unless it is there unharmed; a damaged one is made again out of the downloads kept beside it.

    executorch: with ExecuTorch and torch, for .pte files; a tree that has them keeps them. sysroot: take Python and
    libraries from this aarch64 system instead of Debian packages. fresh: fetch everything again. try_out: called with
    the new tree before it takes the old one's place; what it raises leaves the old one.
    Raises UserError, one line, where packages cannot be had or are not the ones listed.
    """
    place = tree_folder(folder).absolute()
    if sysroot is not None and not sysroot.is_dir():
        raise UserError(f"--sysroot {sysroot}: no such folder; give the root of an aarch64 system")
    source = str(sysroot.resolve()) if sysroot else ""
    there = intact(place)
    executorch = executorch or (there is not None and Tree(place, there).has("executorch"))
    if (
        there is not None
        and not fresh
        and there.sysroot == source
        and Tree(place, there).has("executorch") == executorch
    ):
        return Tree(place, there)
    make_folder(place)
    tell = progress or (lambda done: None)
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".building.") as temporary:
            downloads = (Path(temporary) if fresh else place) / "downloads"
            packages: list[Package] = []
            if sysroot is None:
                packages, sysroot = _debian(downloads / "debian", Path(temporary) / "sysroot")
            tell(0.3)
            minor, prefix = find_python(sysroot, wheels.MINORS)
            built = Path(temporary) / "tree"
            for runtime in ("onnxruntime", "executorch") if executorch else ("onnxruntime",):
                brought = wheels.download(minor, downloads / "wheels", wheels.LISTS[runtime])
                wheels.unpack(brought, downloads / "wheels", built / "site")
                packages += brought
            tell(0.6)
            assemble(sysroot, minor, prefix, built)
            tell(0.8)
            if try_out:
                try_out(built)
            made = _locked(built, f"3.{minor}", packages, source)
            (place / "tree.json").unlink(missing_ok=True)
            if (place / "tree").exists():
                (place / "tree").rename(Path(temporary) / "earlier")
            built.rename(place / "tree")
            if fresh:
                shutil.rmtree(place / "downloads", ignore_errors=True)
                downloads.rename(place / "downloads")
        made.write(place / "tree.json")
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"cannot write {place}: {why}; choose a folder with {'3 GB' if executorch else '500 MB'} free with --to DIR"
        ) from None
    tell(1.0)
    return Tree(place, made)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else builds in `folder` meanwhile; waits for who does."""
    import fcntl

    with (make_folder(folder) / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def intact(folder: Path) -> TreeLock | None:
    """The lock, where every file of the tree is as it says; None where the tree is absent, half-built or damaged."""
    try:
        lock = TreeLock.read(folder / "tree.json")
        found = _locked(folder / "tree", lock.python, lock.packages, lock.sysroot)
    except (UserError, OSError):
        return None
    return lock if found == lock else None


def _debian(folder: Path, root: Path) -> tuple[list[Package], Path]:
    if not debian.has_apt():
        raise UserError("there is no apt here to fetch arm64 libraries with: give an aarch64 system with --sysroot DIR")
    packages = debian.download(PACKAGES, "arm64", folder)
    return packages, debian.unpack(packages, folder, root)


def _locked(tree: Path, python: str, packages: list[Package], sysroot: str) -> TreeLock:
    digest, size, paths = hashlib.sha256(), 0, sorted(path for path in tree.rglob("*") if path.is_file())
    for path in paths:
        digest.update(f"{path.relative_to(tree).as_posix()}\0{sha256(path)}\n".encode())
        size += path.stat().st_size
    return TreeLock(
        python=python, packages=packages, sysroot=sysroot, files=len(paths), size_bytes=size, digest=digest.hexdigest()
    )
