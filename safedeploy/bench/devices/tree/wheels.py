"""The aarch64 wheels of the tree, through pip, which takes only files whose sha256 the list shipped here names."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safedeploy.errors import UserError
from safedeploy.results import Package
from safedeploy.rundir import make_folder, sha256

LISTS = {runtime: Path(__file__).parent / f"{runtime}.txt" for runtime in ("onnxruntime", "executorch")}
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64")
NOT_NEEDED = {"include", "test", "tests"}
MINORS = (11, 12, 13, 14)  # of the Pythons 3.x that the lists have wheels for


@dataclass(frozen=True)
class Pin:
    """`hashes`: sha256 of the wheels of this version, one a Python, or one for all."""

    name: str
    version: str
    hashes: frozenset[str]


def pins(path: Path) -> list[Pin]:
    """A requirements file with hashes, as pip reads it."""
    text = re.sub(r"(?m)^#.*$", "", path.read_text(encoding="utf-8")).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, version = line.split()[0].split("==")
        found.append(Pin(name, version, frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))))
    return found


def download(minor: int, folder: Path, listed: Path) -> list[Package]:
    """The wheels of `listed` for CPython 3.`minor`, as files in `folder`; without the network if they are there.

    Raises UserError, one line, where pip cannot fetch them or finds files of other hashes.
    """
    make_folder(folder)
    wanted = pins(listed)
    found = [_kept(pin, minor, folder) for pin in wanted]
    if None in found:
        _fetch(minor, folder, listed)
        found = [_kept(pin, minor, folder) for pin in wanted]
    whole = [package for package in found if package is not None]
    if len(whole) < len(wanted):
        named = ", ".join(f"{pin.name} {pin.version}" for pin, one in zip(wanted, found, strict=True) if one is None)
        raise UserError(f"pip brought no wheel of {named} for CPython 3.{minor} on aarch64; start again")
    return whole


def unpack(packages: Sequence[Package], folder: Path, site: Path) -> None:
    """The wheels into `site`, without what a model does not run on."""
    for package in packages:
        with zipfile.ZipFile(folder / package.file) as wheel:
            wheel.extractall(site, [name for name in wheel.namelist() if NOT_NEEDED.isdisjoint(name.split("/"))])


def _fetch(minor: int, folder: Path, listed: Path) -> None:
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    chosen = ["--only-binary=:all:", "--no-deps", "--implementation=cp", f"--python-version=3.{minor}", *platforms]
    quietly = ["--quiet", "--no-input", "--disable-pip-version-check"]
    from_list = ["--require-hashes", "--requirement", str(listed), "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *quietly, *chosen, *from_list]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise UserError(f"cannot fetch the aarch64 wheels: {_why(done.stderr)}; check the network and pip's settings")


def _kept(pin: Pin, minor: int, folder: Path) -> Package | None:
    """The wheel of `pin` in `folder`; one with another hash is removed, and pip brings it again."""
    for path in sorted(folder.glob(f"{pin.name}-{pin.version}-*.whl")):
        if f"-cp3{minor}-cp" not in path.name and not path.name.endswith("-none-any.whl"):
            continue
        digest = sha256(path)
        if digest in pin.hashes:
            return Package(
                name=pin.name,
                version=pin.version,
                file=path.name,
                sha256=digest,
                size_bytes=path.stat().st_size,
                checked="safedeploy's list of wheels",
            )
        path.unlink()
    return None


def _why(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "DO NOT MATCH THE HASHES" in said:
        name = next((line.split(" from ")[0] for line in lines if "==" in line and " from " in line), "a wheel")
        return f"the file offered for {name} is damaged or not the one listed (its sha256 differs)"
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[0].removeprefix("ERROR: ")[:300]
