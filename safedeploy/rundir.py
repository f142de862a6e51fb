"""The files of one run, written so that a reader or a resumed run only ever sees whole ones."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safedeploy.errors import UserError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing under a temporary name; flush and rename it on success, leave nothing on failure."""
    make_folder(path.parent)
    try:
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise _unwritable(path, error) from None
    temporary = Path(handle.name)
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as handle:
        handle.write(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def require_writable(path: Path) -> None:
    """Raises UserError where the file `path` could not be written, before the long work it is for; makes nothing."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give a file")
    there = next(place for place in path.absolute().parents if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES if there.is_dir() else errno.ENOTDIR)
        raise UserError(f"cannot write {path}: {why}; choose a writable folder")


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; choose a writable folder")


@dataclass(frozen=True)
class RunDir:
    """The names of a run's files (DESIGN: 'A run on disk')."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.toml"

    @property
    def target(self) -> Path:
        """The run's copy of a target that is a user's own file."""
        return self.root / "target.toml"

    @property
    def split(self) -> Path:
        return self.root / "split.npz"

    @property
    def canaries(self) -> Path:
        return self.root / "canaries.npz"

    @property
    def tokenizer(self) -> Path:
        """How texts become token numbers, where the run's data are texts."""
        return self.root / "tokenizer.json"

    @property
    def weights(self) -> Path:
        return self.root / "model.safetensors"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    def audits(self, target: str) -> Path:
        """The folder of the evidence on a bundle's files."""
        return self.root / "audit" / target

    def benches(self, target: str) -> Path:
        """The folder of a bundle's timings."""
        return self.root / "bench" / target

    def evidence(self, target: str, file: str) -> Path:
        return self.audits(target) / f"{file}.json"

    def timing(self, target: str, file: str, device: str = "local", *, complete: bool = True) -> Path:
        """Of a bundle's file on this machine, or another device by its name; `complete` as in the timing itself."""
        parts = [file] if device == "local" else [file, re.sub(r"[^\w.-]+", "-", device)]
        return self.benches(target) / ".".join([*parts, *([] if complete else ["incomplete"]), "json"])

    def verification(self, target: str) -> Path:
        """What the checks of a bundle found."""
        return self.root / "verify" / f"{target}.json"

    def agreement(self, target: str, file: str) -> Path:
        return self.benches(target) / f"{file}.agreement.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def bundle(self, target: str) -> Path:
        return self.root / "bundle" / target

    @property
    def references(self) -> Path:
        """The folder of the answers of reference models made for this run."""
        return self.root / "references"

    @property
    def control(self) -> "RunDir":
        """The dense control, trained equally long on the same split: a run of its own inside this one."""
        return RunDir(self.root / "dense")

    @property
    def is_control(self) -> bool:
        """Whether this run is the dense control inside another."""
        return self.root.name == "dense" and RunDir(self.root.parent).recipe.is_file()


def run_of_artifact(path: Path) -> RunDir | None:
    """The run whose bundle holds the file `path`, or None for a stranger's file."""
    folder = path.resolve().parent
    if folder.parent.name != "bundle":
        return None
    run = RunDir(folder.parent.parent)
    return run if run.recipe.is_file() and run.split.is_file() else None


@contextlib.contextmanager
def whole_or_nothing(run: RunDir) -> Iterator[None]:
    """A UserError before the first checkpoint leaves nothing of a run whose folder was not there before."""
    new = [folder for folder in (run.root, *run.root.parents) if not folder.exists()]
    try:
        yield
    except UserError:
        if new and not run.checkpoints.exists():
            shutil.rmtree(run.root, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: another run began there meanwhile
                for parent in new[1:]:
                    parent.rmdir()
        raise


def open_run(root: Path) -> RunDir:
    """An existing run; the error says what is missing."""
    run = RunDir(root)
    if not run.recipe.is_file():
        make = "make one with 'safedeploy compress' or 'safedeploy run'"
        raise UserError(f"{root} is not a run: it has no recipe.toml; {make}")
    return run
