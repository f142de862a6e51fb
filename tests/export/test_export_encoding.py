"""What a target says of encoding is what its bundle holds."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from safedeploy.artifacts.onnx_encoding import decoded, is_encoded
from safedeploy.export.bundle import export_bundle
from safedeploy.export.targets import Encoding, Target, load_target
from safedeploy.results import Manifest, Preprocessing

PREPROCESSING = Preprocessing(raw="numbers", scale=1.0, mean=[0.0], std=[1.0])


def bundle(trained, folder: Path, encoding: Encoding) -> Manifest:
    target: Target = load_target("android").model_copy(
        update={"files": ["model.onnx", "model.int8.onnx"], "encoding": encoding}
    )
    return export_bundle(
        trained.module,
        folder,
        target,
        model_name="tiny",
        preprocessing=PREPROCESSING,
        class_names=["a", "b", "c", "d"],
        calibration=trained.x[:120],
        x=trained.x[120:],
        y=trained.y[120:],
    )


def numbers(path: Path) -> set[float]:
    """The different numbers in the sparse convolution's weight."""
    model = decoded(onnx.load(path), path)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    second = [node.input[1] for node in model.graph.node if node.op_type == "Conv"][1]
    return set(np.unique(stored[second]).tolist())


def test_sparse_weights_are_coded_and_the_manifest_says_so(trained, tmp_path: Path) -> None:
    file = bundle(trained, tmp_path / "bundle", Encoding()).files[0]
    assert is_encoded(onnx.load(tmp_path / "bundle" / "model.onnx"))
    assert sum(file.codecs.values()) >= 1
    assert file.plain_bytes is not None
    assert file.size_bytes < file.plain_bytes
    assert file.values == "float32"


def test_a_target_may_leave_the_codes_out(trained, tmp_path: Path) -> None:
    file = bundle(trained, tmp_path / "bundle", Encoding(sparse=False)).files[0]
    assert not is_encoded(onnx.load(tmp_path / "bundle" / "model.onnx"))
    assert (file.codecs, file.plain_bytes) == ({}, None)


def test_a_target_may_round_the_float32_files_weights(trained, tmp_path: Path) -> None:
    """The int8 file is made of the exact weights."""
    exact, rounded = (
        bundle(trained, tmp_path / name, Encoding(values=values)).files
        for name, values in (("exact", "float32"), ("rounded", "palette4"))
    )
    assert len(numbers(tmp_path / "exact" / "model.onnx")) > 17
    assert len(numbers(tmp_path / "rounded" / "model.onnx")) <= 17
    assert [file.values for file in rounded] == ["palette4", "float32"]
    assert exact[1].sha256 == rounded[1].sha256
    assert rounded[0].check.max_logit_difference > exact[0].check.max_logit_difference


def test_rounding_that_ruins_the_model_does_not_ship(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safedeploy.export.encoding import rounding

    monkeypatch.setattr(rounding, "round_values", lambda weight, how, axis: np.sign(weight).astype(np.float32))
    with pytest.raises(Exception, match=r"model\.onnx strays from the torch model .* agreement of 0\.95 or more"):
        bundle(trained, tmp_path / "bundle", Encoding(values="palette4"))
    assert not (tmp_path / "bundle").exists()
