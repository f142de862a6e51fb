"""A tree out of an unpacked aarch64 system: Python, and the libraries it and the wheels ask for; files only, no links.

bin/python3      lib/ld-linux-aarch64.so.1, lib/*.so*      lib/python3.N/      site/
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safedeploy.bench.devices.tree import elf, no_gpu
from safedeploy.errors import UserError
from safedeploy.rundir import make_folder

LOADER = "ld-linux-aarch64.so.1"
LIBRARIES = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib")
PREFIXES = ("usr", "usr/local")
NOT_NEEDED = ("__pycache__", "dist-packages", "ensurepip", "idlelib", "site-packages", "test", "tests", "turtledemo")


def find_python(sysroot: Path, minors: tuple[int, ...]) -> tuple[int, str]:
    """The newest CPython 3.x of `minors` in `sysroot`: its x, and its prefix there.

    Raises UserError where there is none, or one for another processor.
    """
    for minor in sorted(minors, reverse=True):
        for prefix in PREFIXES:
            path = followed(sysroot, f"{prefix}/bin/python3.{minor}")
            if path is None:
                continue
            if elf.machine(path) != elf.AARCH64:
                raise UserError(f"{path} is no aarch64 program; give the root of a 64-bit Arm system with --sysroot")
            return minor, prefix
    known = ", ".join(f"3.{minor}" for minor in minors)
    raise UserError(f"{sysroot} has no Python of {known} in usr/bin or usr/local/bin; install python3 there")


def assemble(sysroot: Path, minor: int, prefix: str, tree: Path) -> None:
    """Fill `tree`, whose site/ is there already, from `sysroot`. Raises UserError where a library is not there."""
    make_folder(tree / "bin")
    python = followed(sysroot, f"{prefix}/bin/python3.{minor}")
    assert python is not None
    shutil.copy(python, tree / "bin" / "python3")
    _standard_library(sysroot, minor, prefix, tree / "lib" / f"python3.{minor}")
    _copy_library(sysroot, LOADER, sysroot, tree)
    asking = [path for path in _files(tree) if elf.is_elf(path)]
    brought = {path.name for path in asking if path.is_relative_to(tree / "site")}
    without_gpu = []
    while asking:
        path = asking.pop()
        lacking = [name for name in elf.needed(path) if name not in brought and not (tree / "lib" / name).exists()]
        if any(map(no_gpu.is_absent, lacking)):
            without_gpu.append(path)
        asking += [_copy_library(sysroot, name, path, tree) for name in lacking if not no_gpu.is_absent(name)]
    if without_gpu:
        no_gpu.stand_in(without_gpu, [path for path in _files(tree) if elf.is_elf(path)], tree / "lib")


def followed(sysroot: Path, inside: str) -> Path | None:
    """The file that `inside` is, links followed as they would be were `sysroot` the root; None where there is none."""
    path = sysroot / inside
    for _ in range(40):
        if not path.is_symlink():
            return path if path.is_file() else None
        target = path.readlink()
        path = sysroot / target.relative_to("/") if target.is_absolute() else path.parent / target
    return None


def _copy_library(sysroot: Path, name: str, asker: Path, tree: Path) -> Path:
    places = [*LIBRARIES, "usr/local/lib"]
    found = next((path for place in places if (path := followed(sysroot, f"{place}/{name}"))), None)
    if found is None or elf.machine(found) != elf.AARCH64:
        what = "none for aarch64" if found else "not there"
        raise UserError(f"{asker} needs {name}, which is {what} in {sysroot}; install it there (glibc systems only)")
    return Path(shutil.copy(found, tree / "lib" / name))


def _standard_library(sysroot: Path, minor: int, prefix: str, folder: Path) -> None:
    places = [f"{prefix}/{lib}/python3.{minor}" for lib in ("lib", "lib64")]
    source = next((sysroot / place for place in places if (sysroot / place / "os.py").exists()), None)
    if source is None:
        raise UserError(f"{sysroot} has Python 3.{minor} without its standard library; install python3 there")
    for path in _files(source):
        if any(part in NOT_NEEDED or part.startswith("config-") for part in path.relative_to(source).parts):
            continue
        content = followed(sysroot, str(path.relative_to(sysroot)))
        if content is not None:
            place = folder / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(content, place)


def _files(folder: Path) -> Iterator[Path]:
    """Files and links to files below `folder`, in a fixed order."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root) / name for name in sorted(names))
