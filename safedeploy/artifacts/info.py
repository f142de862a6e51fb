"""Identity and sizes of a model file."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from safedeploy.artifacts.recognise import recognise
from safedeploy.results import ArtifactInfo


def artifact_info(path: Path) -> ArtifactInfo:
    """Format, sha256, disk size and download size of a model file.

    Weights that an ONNX file keeps in files beside it count in all three: the hash is of the files' bytes, one file
    after another. Raises UserError where the file is not a model.
    """
    path = Path(path)
    kind = recognise(path)
    files = [path, *files_beside(path)] if kind == "onnx" else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return ArtifactInfo(
        path=str(path),
        sha256=digest.hexdigest(),
        format=kind,
        size_bytes=sum(file.stat().st_size for file in files),
        zip_bytes=zip_bytes(files),
    )


def zip_bytes(files: Sequence[Path]) -> int:
    """Size in bytes of a zip (deflate, level 9) that holds `files` alone."""
    with tempfile.TemporaryFile() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in files:
                with file.open("rb") as source, archive.open(file.name, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        return buffer.seek(0, 2)


def files_beside(path: Path) -> list[Path]:
    """Those that hold weights of the ONNX file `path`. Raises UserError where one is missing or elsewhere."""
    import onnx

    from safedeploy.artifacts.onnx import side_files

    return side_files(path, onnx.load(str(path), load_external_data=False))
