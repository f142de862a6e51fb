"""Three sizes that are never confused: what is on disk, what is downloaded, and what is hashed."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import safetensors.numpy

from safedeploy.artifacts.info import artifact_info
from safedeploy.errors import UserError

Build = Callable[..., Path]


def test_sizes_and_hash_of_one_file(build: Build, linear: SimpleNamespace) -> None:
    path = build(linear.nodes, linear.weights)
    info = artifact_info(path)
    assert info.format == "onnx"
    assert info.size_bytes == len(path.read_bytes())
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.path == str(path)


def test_zeros_cost_disk_but_no_download(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(1_000_000, dtype=np.float32)}, path)
    info = artifact_info(path)
    assert info.format == "torch"
    assert info.size_bytes > 4_000_000
    assert info.zip_bytes < 8_000


def test_zip_size_is_that_of_a_real_zip(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    path = build(linear.nodes, {**linear.weights, "b": linear.b, "zeros": np.zeros(20_000, dtype=np.float32)})
    other = tmp_path / "other.zip"
    python = "import sys,zipfile; zipfile.ZipFile(sys.argv[1],'w',8,compresslevel=9).write(sys.argv[2],'model.onnx')"
    subprocess.run(["python3", "-c", python, str(other), str(path)], check=True)
    assert abs(artifact_info(path).zip_bytes - other.stat().st_size) < 64


def test_weights_in_a_side_file_count(build: Build, linear: SimpleNamespace, tmp_path: Path) -> None:
    model = onnx.load(build(linear.nodes, linear.weights))
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="split.data", size_threshold=0)
    together = path.read_bytes() + (tmp_path / "split.data").read_bytes()
    info = artifact_info(path)
    assert info.size_bytes == len(together)
    assert info.sha256 == hashlib.sha256(together).hexdigest()


def test_what_is_no_model_has_no_info(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        artifact_info(tmp_path / "none.onnx")
