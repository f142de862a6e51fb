"""A model file is known by its content; everything else gets one line."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from safedeploy.artifacts.recognise import open_artifact, recognise
from safedeploy.errors import UserError

Build = Callable[..., Path]


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_artifact(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_name_does_not_matter(build: Build, linear: SimpleNamespace, convnet_pte: Path, tmp_path: Path) -> None:
    assert recognise(build(linear.nodes, linear.weights, name="model.png")) == "onnx"
    renamed = tmp_path / "model.onnx"
    renamed.write_bytes(convnet_pte.read_bytes())
    assert recognise(renamed) == "executorch"


def test_safetensors_are_recognised_but_have_no_architecture(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    safetensors.numpy.save_file({"w": np.zeros(3, dtype=np.float32)}, path)
    assert recognise(path) == "torch"
    assert "architecture" in refused(path)


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.onnx")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in refused(tmp_path / "empty.onnx")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
        (zipped(), "zip"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "LiteRT"),
        (b"hello, world\n", "neither"),
        (b"x", "neither"),
        (bytes(1000), "neither"),
        (np.random.default_rng(0).bytes(5000), "neither"),
    ],
)
def test_another_file_under_a_models_name_is_called_what_it_is(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert named in refused(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_an_onnx_file_cut_short_gets_one_line(convnet_onnx: Path, tmp_path: Path, share: float) -> None:
    content = convnet_onnx.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(path)


@pytest.mark.parametrize("share", [0.002, 0.02, 0.3, 0.5, 0.9, 0.9999])
def test_a_pte_cut_short_gets_one_line(convnet_pte: Path, tmp_path: Path, share: float) -> None:
    content = convnet_pte.read_bytes()
    path = tmp_path / "cut.pte"
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(path)


def test_a_pte_with_a_damaged_head_gets_one_line(convnet_pte: Path, tmp_path: Path) -> None:
    content = bytearray(convnet_pte.read_bytes())
    content[:4] = b"\xff\xff\xff\x7f"
    path = tmp_path / "damaged.pte"
    path.write_bytes(content)
    assert "ExecuTorch cannot load it" in refused(path)
