"""The bundle: whole or not at all, true to its manifest, silent, and clear about inputs that do not fit."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.export.bundle import export_bundle
from safedeploy.export.targets import Target, load_target
from safedeploy.export.verify import OutOfTolerance
from safedeploy.results import Manifest, Preprocessing, Verification
from safedeploy.rundir import sha256

FILES = ["model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte"]


def only(*files: str, **changes: Any) -> Target:
    return Target.model_validate({**load_target("android").model_dump(), "files": list(files), **changes})


def export(trained, folder: Path, target: Target, **changes: Any) -> Manifest:
    arguments = {
        "model_name": "tinynet",
        "preprocessing": Preprocessing(raw="uint8 pixels", scale=1 / 255, mean=[0.5], std=[0.25]),
        "class_names": ["a", "b", "c", "d"],
        "calibration": trained.x[:64],
        "x": trained.x,
        "y": trained.y,
    }
    return export_bundle(trained.module, folder, target, **{**arguments, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bundle_holds_what_its_manifest_says(exported) -> None:
    assert sorted(path.name for path in exported.folder.iterdir()) == sorted([*FILES, "manifest.json"])
    manifest = exported.manifest
    assert [file.name for file in manifest.files] == FILES
    for file in manifest.files:
        path = exported.folder / file.name
        assert (file.sha256, file.size_bytes) == (sha256(path), path.stat().st_size)
    assert (manifest.input_layout, manifest.input_shape, manifest.classes) == ("NCHW", [1, 8, 8], ["a", "b", "c", "d"])
    assert {"torch", "onnxruntime", "executorch"} <= set(manifest.versions)


def test_every_file_was_compared_on_every_validation_input(exported, trained) -> None:
    for file in exported.manifest.files:
        assert file.check.samples == len(trained.x)
        assert file.check.max_logit_difference > 0 or file.precision == "float32"
        assert file.check.top1_agreement >= (1.0 if file.precision == "float32" else 0.95)


def test_the_manifest_names_no_path_and_nothing_of_the_split(exported) -> None:
    text = (exported.folder / "manifest.json").read_text()
    assert str(exported.folder.parent.parent) not in text
    assert not any(word in text for word in ("split", "fingerprint", "member", "seed"))


def test_no_temporary_file_stays_beside_the_bundle(exported) -> None:
    assert list(exported.folder.parent.iterdir()) == [exported.folder]


def test_a_target_gets_only_the_files_it_wants(trained, tmp_path: Path) -> None:
    manifest = export(trained, tmp_path / "till", only("model.int8.onnx"))
    assert sorted(contents(tmp_path / "till")) == ["manifest.json", "model.int8.onnx"]
    assert Manifest.read(tmp_path / "till" / "manifest.json") == manifest


def test_the_callers_module_is_left_as_it_was(trained, tmp_path: Path) -> None:
    module = copy.deepcopy(trained.module).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export(replace(trained, module=module), tmp_path / "b", only("model.onnx"))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_an_export_says_nothing_and_its_progress_grows_to_one(exported) -> None:
    assert exported.told == sorted(exported.told)
    assert exported.told[-1] == 1
    assert exported.said == ""


@pytest.fixture
def earlier(exported, tmp_path: Path) -> Path:
    """A bundle, alone in its folder."""
    return Path(shutil.copytree(exported.folder, tmp_path / "bundle" / "android"))


def test_a_file_out_of_tolerance_leaves_the_earlier_bundle_and_nothing_else(trained, earlier, tmp_path: Path) -> None:
    before = contents(tmp_path)
    strict = only("model.onnx", "model.int8.onnx", tolerance={"int8": {"top1_agreement": 1.0, "accuracy_lost": 0.0}})
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with torch.no_grad():
        flat[1].weight.mul_(1e-3)
        flat[1].bias.copy_(torch.tensor([9.0, 9.0, 9.0, 9.0]))
    with pytest.raises(
        OutOfTolerance, match=r"model\.int8\.onnx strays .* on 240 validation inputs: max logit difference"
    ):
        export(replace(trained, module=flat), earlier, strict)
    assert contents(tmp_path) == before


def test_an_interrupt_leaves_the_earlier_bundle_and_nothing_else(trained, earlier, tmp_path: Path) -> None:
    before = contents(tmp_path)

    def interrupt(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(trained, earlier, only("model.onnx", "model.int8.onnx"), progress=interrupt)
    assert contents(tmp_path) == before


def test_a_new_bundle_replaces_the_earlier_one_whole(trained, earlier) -> None:
    export(trained, earlier, only("model.int8.onnx"))
    assert sorted(contents(earlier.parent)) == ["android/manifest.json", "android/model.int8.onnx"]


def test_a_folder_that_holds_something_else_is_not_replaced(trained, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds 'thesis\.tex', which is not part of a bundle"):
        export(trained, tmp_path, only("model.onnx"))
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_place_that_cannot_be_a_folder_is_refused(trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; name a folder"):
        export(trained, tmp_path / "file", only("model.onnx"))
    with pytest.raises(UserError, match=r"cannot write .*; choose a writable folder"):
        export(trained, tmp_path / "file" / "below", only("model.onnx"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"class_names": ["a", "b", "c", "d", "e"]}, r"tinynet gives shape \(1, 4\) for one input; .* \(n, 5\) logits"),
        ({"class_names": ["a", "b", "c"]}, "one label from 0 to 2"),
        ({"y": np.zeros(3, dtype=np.int64)}, "one label from 0 to 3 for each of 240"),
        ({"x": np.zeros((0, 1, 8, 8), dtype=np.float32), "y": np.zeros(0, dtype=np.int64)}, "at least one validation"),
        ({"calibration": np.zeros((0, 1, 8, 8), dtype=np.float32)}, "one calibration input"),
        ({"calibration": np.full((2, 1, 8, 8), np.nan, dtype=np.float32)}, "calibration inputs must be finite"),
        ({"calibration": np.zeros((2, 1, 9, 9), dtype=np.float32)}, r"of shape \(1, 8, 8\)"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line_and_no_bundle(trained, tmp_path, changes, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as error:
        export(trained, tmp_path / "b", only("model.onnx"), **changes)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.flatten(1)[:, :4], x


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (Pair(), "gives a tuple for one input"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Softmax(1)), "gives probabilities, .* leave out its softmax"),
        (nn.Linear(9, 4), r"does not answer inputs of shape \(1, 8, 8\)"),
    ],
)
def test_a_module_that_is_no_classifier_is_one_line(trained, tmp_path: Path, module: nn.Module, complaint: str) -> None:
    with pytest.raises(UserError, match=f"tinynet {complaint}") as error:
        export(replace(trained, module=module), tmp_path / "b", only("model.onnx"))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_the_checks_found_is_kept_where_asked_and_not_in_the_bundle(trained, tmp_path: Path) -> None:
    record = tmp_path / "verify" / "b.json"
    manifest = export(trained, tmp_path / "b", only("model.onnx"), record=record)
    found = Verification.read(record)
    assert (found.passed, found.bundle, found.samples) == (True, "b", 240)
    assert found.not_checked == ["240 real inputs instead of 500: the validation role has no more"]
    assert [file.name for file in found.files] == ["model.onnx"]
    assert found.files[0].outcomes[0].check == "hash"
    assert sorted(contents(tmp_path / "b")) == ["manifest.json", "model.onnx"]
    assert manifest.calibration_inputs == 64


def test_a_file_that_fails_any_check_does_not_ship(trained, tmp_path: Path) -> None:
    """Ranges from inputs a tenth of the real size cut most of them off, and a target may forbid that by itself."""
    forgiving = {"top1_agreement": 0.0, "accuracy_lost": 1.0, "saturation": 0.05}
    target = only("model.int8.onnx", tolerance={"int8": forgiving})
    with pytest.raises(OutOfTolerance, match=r"model\.int8\.onnx: saturation: .* allows 5\.00%"):
        export(trained, tmp_path / "b", target, calibration=trained.x[:64] / 10, record=tmp_path / "r.json")
    assert not list(tmp_path.iterdir())
    export(trained, tmp_path / "b", only("model.int8.onnx", tolerance={"int8": {**forgiving, "saturation": 1.0}}))
