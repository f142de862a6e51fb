"""safedeploy verify as a user meets it: in a run, moved away from it, damaged; and the size budget of an export."""

import json
import shutil
from pathlib import Path

import pytest

from safedeploy.results import Manifest, Verification
from safedeploy.rundir import RunDir


@pytest.fixture
def run(shipped_run: Path, home: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(shipped_run, home / "runs" / "tiny")))


@pytest.fixture
def light(run: RunDir) -> RunDir:
    """The run with its .pte left out of the bundle, for what is the same without ExecuTorch's seconds."""
    place = run.bundle("pair") / "manifest.json"
    manifest = Manifest.read(place)
    manifest.model_copy(update={"files": [file for file in manifest.files if file.name == "model.onnx"]}).write(place)
    (run.bundle("pair") / "model.pte").unlink()
    run.target.write_text(run.target.read_text().replace('    "model.pte",\n', ""))
    return run


def test_in_its_run_a_bundle_is_held_against_the_torch_model_and_the_result_is_kept(typed, run: RunDir) -> None:
    before = (run.bundle("pair") / "manifest.json").read_bytes()
    shutil.rmtree(run.root / "verify")
    answer = typed("verify", run.bundle("pair"), "--json")
    assert answer.code == 0
    found = Verification.model_validate_json(answer.out)
    assert found == Verification.read(run.verification("pair"))
    assert [file.answers is not None for file in found.files] == [True, True]
    assert (run.bundle("pair") / "manifest.json").read_bytes() == before
    assert any("instead of 500" in line for line in found.not_checked)


def test_the_inputs_that_judge_set_no_range(run: RunDir) -> None:
    """The validation role is 180 of digits' 1,797: a third calibrates, the others judge."""
    kept = Verification.read(run.verification("pair"))
    manifest = Manifest.read(run.bundle("pair") / "manifest.json")
    assert manifest.calibration_inputs is not None
    assert manifest.calibration_inputs + kept.samples == json.loads(run.summary.read_text())["roles"]["validation"]


def test_away_from_its_run_a_bundle_is_checked_as_far_as_it_goes(typed, light: RunDir, home: Path) -> None:
    moved = shutil.copytree(light.bundle("pair"), home / "moved")
    answer = typed("verify", moved)
    assert answer.code == 0
    assert "not checked: answers and saturation against the torch model: the bundle is not in a run" in answer.out
    assert "64 random inputs" in answer.out
    assert sorted(path.name for path in moved.iterdir()) == ["manifest.json", "model.onnx"]


def test_a_changed_byte_is_exit_1_and_one_line(typed, light: RunDir) -> None:
    file = light.bundle("pair") / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answer = typed("verify", light.bundle("pair"))
    assert answer.code == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith("safedeploy: bundle 'pair': model.onnx: hash: ")
    assert "FAILED" in answer.out
    assert not Verification.read(light.verification("pair")).passed


def test_a_run_that_takes_no_file_is_still_answered(typed, light: RunDir) -> None:
    shutil.rmtree(light.root / "verify")
    (light.root / "verify").write_text("in the way")
    answer = typed("verify", light.bundle("pair"))
    assert answer.code == 0
    assert "not checked: not kept in the run: cannot write" in answer.out


@pytest.mark.parametrize("place", ["runs/tiny", "runs/none", "runs/tiny/recipe.toml"])
def test_what_is_no_bundle_is_bad_input(typed, run: RunDir, place: str) -> None:
    assert typed("verify", place).fault.startswith(f"{place} ")


def test_an_export_over_the_size_budget_keeps_the_bundle_and_ends_with_3(typed, run: RunDir, home: Path) -> None:
    (home / "small.toml").write_text(
        'extends = "android"\nname = "small"\nfiles = ["model.onnx"]\n[budget]\ndownload_bytes = 1000\n'
    )
    answer = typed("export", run.root, "--target", "./small.toml")
    assert answer.code == 3
    last = answer.err.splitlines()[-1]
    assert "model.onnx is" in last
    assert "over the 1,000 of target 'small'" in last
    assert (run.bundle("small") / "model.onnx").is_file()
    assert Verification.read(run.verification("small")).passed


def test_a_run_finds_its_own_target_after_the_file_is_gone(typed, light: RunDir, monkeypatch) -> None:
    """The fixture's target was a file in a folder of its own; the run kept a copy."""
    recipe = light.recipe.read_text()
    light.recipe.write_text(recipe.replace("pair.toml", "gone.toml"))
    monkeypatch.chdir("/")
    answer = typed("export", light.root)
    assert answer.code == 0
    assert sorted(path.name for path in light.bundle("pair").iterdir()) == ["manifest.json", "model.onnx"]
