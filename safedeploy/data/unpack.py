"""Packed data files, unpacked once into the cache under a name made of their content; their folder is only read."""

import contextlib
import gzip
import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from safedeploy.data.root import cache_folder
from safedeploy.errors import UserError
from safedeploy.rundir import make_folder, sha256, write_bytes


def unpacked(root: Path, packed: Sequence[str]) -> Path:
    """A folder that holds what the files `packed` of `root` hold, at the same relative places.

    A `.gz` becomes the file without the suffix, a `.tar.gz` is extracted. Raises UserError naming a damaged file.
    """
    content = hashlib.sha256("".join(f"{name}\n{sha256(root / name)}\n" for name in packed).encode())
    folder = cache_folder() / "unpacked" / content.hexdigest()[:32]
    if folder.is_dir():
        return folder
    with _whole(folder) as building:
        for name in packed:
            try:
                _unpack(root / name, building / name)
            except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
                raise UserError(f"{root / name} is damaged ({error}); delete it and fetch it again") from None
    return folder


def _unpack(source: Path, target: Path) -> None:
    if source.name.endswith(".tar.gz"):
        make_folder(target.parent)
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(target.parent, filter="data")
        return
    write_bytes(target.with_suffix(""), gzip.decompress(source.read_bytes()))


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it on success; another process may have been faster."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))
    except OSError as error:
        hint = "set XDG_CACHE_HOME to a writable folder"
        raise UserError(f"cannot write the cache {folder.parent}: {error.strerror}; {hint}") from None
    try:
        yield building
        try:
            building.replace(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
