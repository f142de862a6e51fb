"""Debian packages of any architecture through apt, in a folder of ours: no root, and the system's own apt untouched.

apt checks its package lists against the archive's signature; every file is checked here against the sha256 they give.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from safedeploy.errors import UserError
from safedeploy.results import Package
from safedeploy.rundir import make_folder, sha256, write_text

LISTED = "packages.json"  # what a folder of downloads holds, written once all of it was checked
Packages = TypeAdapter(list[Package])


def has_apt() -> bool:
    return all(shutil.which(command) for command in ("apt-get", "apt-cache", "dpkg-deb"))


def download(wanted: Sequence[str], architecture: str, folder: Path) -> list[Package]:
    """The packages `wanted` of a Debian architecture and all they depend on, as files in `folder`.

    What an earlier call left there is used, and no network, as long as every file still has its sha256.
    Raises UserError, one line, where apt cannot find or fetch them, or where a file is not the one listed.
    """
    kept = _kept(folder)
    if set(wanted) <= {package.name for package in kept}:
        return kept
    for part in ("lists/partial", "archives/partial"):
        make_folder(folder / part)
    (folder / "status").touch()
    updated = _run(["apt-get", *_options(architecture, folder), "update"])
    install = ["--no-install-recommends", "install", *wanted]
    chosen = _run(["apt-get", *_options(architecture, folder), "--simulate", *install])
    names = re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", chosen.stdout, re.MULTILINE)
    if chosen.returncode or not names:
        blamed = updated if updated.returncode else chosen
        raise _failed(f"apt finds no {architecture} packages {', '.join(wanted)}", blamed)
    fetched = _run(["apt-get", *_options(architecture, folder), "--download-only", "--yes", *install])
    if fetched.returncode:
        raise _failed(f"apt cannot fetch the {architecture} packages", fetched)
    exact = [f"{name}={version}" for name, version, _ in names]
    shown = _run(["apt-cache", *_options(architecture, folder), "show", *exact])
    packages = [_checked(stanza, folder) for stanza in _stanzas(shown.stdout)]
    write_text(folder / LISTED, Packages.dump_json(packages, indent=2).decode() + "\n")
    return packages


def unpack(packages: Sequence[Package], folder: Path, root: Path) -> Path:
    """All packages of `folder` into one folder `root`, as dpkg would into /."""
    make_folder(root)
    for package in packages:
        done = _run(["dpkg-deb", "--extract", str(folder / package.file), str(root)])
        if done.returncode:
            raise _failed(f"cannot unpack {folder / package.file}", done)
    return root


def _options(architecture: str, folder: Path) -> list[str]:
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",  # as root: apt's own user may not see the user's cache
        "Acquire::Languages": "none",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",  # an empty one: nothing is installed
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
    }
    return ["-q", *(f"-o{key}={value}" for key, value in settings.items())]


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    environment = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | environment)
    except OSError as error:
        raise UserError(f"cannot run {command[0]}: {error.strerror}; give the libraries with --sysroot DIR") from None


def _stanzas(shown: str) -> list[dict[str, str]]:
    """'Key: value' paragraphs; one a package: a version that two archives hold is listed twice."""
    found = {}
    for paragraph in shown.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            found[fields["Package"]] = fields
    return list(found.values())


def _checked(stanza: dict[str, str], folder: Path) -> Package:
    name, version = stanza["Package"], stanza["Version"]
    file = Path("archives") / f"{name}_{version.replace(':', '%3a')}_{stanza['Architecture']}.deb"
    path = folder / file
    digest = sha256(path) if path.exists() else ""
    if digest != stanza.get("SHA256"):
        path.unlink(missing_ok=True)
        what = "damaged" if digest else "missing"
        raise UserError(f"{path} came {what} (its sha256 is not the one apt lists) and was removed; start again")
    return Package(
        name=name,
        version=version,
        file=str(file),
        sha256=digest,
        size_bytes=path.stat().st_size,
        checked="apt's signed package list",
    )


def _kept(folder: Path) -> list[Package]:
    """What an earlier call listed, if all of it is still there unharmed; a damaged file is removed."""
    try:
        packages = Packages.validate_json((folder / LISTED).read_bytes())
    except (OSError, ValidationError):
        return []
    whole = True
    for package in packages:
        path = folder / package.file
        if not path.is_file() or sha256(path) != package.sha256:
            path.unlink(missing_ok=True)
            whole = False
    return packages if whole else []


def _failed(what: str, run: "subprocess.CompletedProcess[str]") -> UserError:
    """The first error of those said: later ones follow from it."""
    lines = [line.strip() for line in (run.stderr + run.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "dpkg-deb: error"))]
    why = (errors or lines or ["no word"])[0][:300]
    return UserError(f"{what}: {why}; check the network and apt's sources, or give the libraries with --sysroot DIR")
