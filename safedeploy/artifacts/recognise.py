"""What a model file is, told from its content and never from its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from safedeploy.artifacts.base import FileArtifact
from safedeploy.errors import UserError

FileFormat = Literal["onnx", "executorch", "torch"]

SIGNATURES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch .pt file is one too, and holds pickled code that is never run here)"),
    (0, b"\x80\x02", "a pickle, which can run code and is never opened here"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"GGUF", "a GGUF file"),
    (4, b"TFL3", "a LiteRT (.tflite) file"),
    (4, b"ORTM", "an ONNX Runtime (.ort) file; give the .onnx it was made from"),
    (4, b"BP08", "an ExecuTorch bundled program; give the .pte inside it"),
)
LARGEST_ONNX = 2**31 - 1  # protobuf's limit; larger models keep their weights in a side file


def recognise(path: Path) -> FileFormat:
    """The format of the file `path`; 'torch' is a safetensors file.

    Raises UserError where the file is missing, empty, cut short or something else.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the model file in it (.onnx or .pte)")
    try:
        with path.open("rb") as handle:
            head = handle.read(64)
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a model file (.onnx or .pte)") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if size == 0:
        raise UserError(f"{path} is empty; export or copy it again")
    if head[4:8] == b"ET12":
        if size < (needed := _program_bytes(head)):
            raise UserError(f"{path} is cut short: {size} of {needed} bytes; export or copy it again")
        return "executorch"
    for offset, signature, what in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            raise UserError(f"{path} is not a model file but {what}; give an .onnx or .pte file")
    if _is_safetensors(head, size):
        return "torch"
    if size > LARGEST_ONNX:
        raise UserError(f"{path} is over 2 GiB, more than an ONNX file can be; export its weights to a side file")
    if _is_onnx(path):
        return "onnx"
    if _begins_like_onnx(head):
        raise UserError(f"{path} begins like an ONNX file but is cut short or damaged; export or copy it again")
    raise UserError(f"{path} is neither an ONNX nor an ExecuTorch file (by its content); give an .onnx or .pte file")


def open_artifact(
    path: Path, *, threads: int | None = None, output: str | None = None, shape: Sequence[int] | None = None
) -> FileArtifact:
    """The model file behind the Artifact protocol, opened in its own runtime.

    threads: of the runtime for one call; None leaves its default. output: which of an ONNX file's outputs answers.
    shape: one sample's, for an ONNX file that leaves sizes free.
    Raises UserError where it cannot be opened or is not a classifier of float inputs.
    """
    path = Path(path)
    match recognise(path):
        case "onnx":
            from safedeploy.artifacts.onnx import OnnxArtifact

            return OnnxArtifact(path, threads=threads, output=output, shape=shape)
        case "executorch":
            from safedeploy.artifacts.executorch import ExecuTorchArtifact

            return ExecuTorchArtifact(path, threads=threads)
        case "torch":
            raise UserError(f"{path} holds weights alone, no architecture; give the exported .onnx or .pte or the run")


def _program_bytes(head: bytes) -> int:
    """The length an ExecuTorch program's extended header tells (exir/_serialize/_program.py); 40 without one."""
    if head[8:12] != b"eh00":
        return 40
    program, base, segments = (int.from_bytes(head[start : start + 8], "little") for start in (16, 24, 32))
    has_segments = int.from_bytes(head[12:16], "little") >= 32
    return max(40, program, base + segments if has_segments else 0)


def _is_safetensors(head: bytes, size: int) -> bool:
    """The first 8 bytes are the length of a JSON header."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= size - 8


def _is_onnx(path: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    return bool(model.ir_version) and bool(model.graph.node) and bool(model.graph.output)


def _begins_like_onnx(head: bytes) -> bool:
    """ModelProto's first field is a small varint, the IR version, and a string or message follows."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] < 0x40 and head[2] & 7 == 2
