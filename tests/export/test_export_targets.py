"""Targets: the shipped ones, a user's own file, and what is said about a bad one."""

from pathlib import Path

import pytest

from safedeploy.errors import UserError
from safedeploy.export.targets import (
    keep_target,
    list_targets,
    load_target,
    precision_of,
    require_same_target,
    runtime_of,
    target_of_run,
)
from safedeploy.recipe import Recipe
from safedeploy.rundir import RunDir

OWN = """
name = "kiosk"
description = "a till"
files = ["model.int8.onnx"]
opset = 19
[tolerance.int8]
top1_agreement = 0.9
"""


def test_the_shipped_targets_are_listed_and_load_by_name() -> None:
    targets = list_targets()
    assert [target.name for target in targets] == ["android", "ios", "linux-arm64"]
    assert [load_target(target.name) for target in targets] == targets


def test_every_file_a_shipped_target_wants_names_a_runtime_with_a_first_version() -> None:
    for target in list_targets():
        assert {runtime_of(name) for name in target.files} <= set(target.runtimes)


def test_a_file_name_tells_its_runtime_and_precision() -> None:
    assert (runtime_of("model.int8.pte"), precision_of("model.int8.pte")) == ("executorch", "int8")
    assert (runtime_of("model.onnx"), precision_of("model.onnx")) == ("onnxruntime", "float32")


def test_a_users_own_file_is_read_and_fills_in_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "kiosk.toml"
    path.write_text(OWN)
    target = load_target(str(path))
    assert (target.name, target.opset, target.tolerance.int8.top1_agreement) == ("kiosk", 19, 0.9)
    assert target.tolerance.float32 == load_target("android").tolerance.float32


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown target 'andriod'; did you mean 'android'\?"):
        load_target("andriod")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read target .*none\.toml: No such file"):
        load_target(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("name = ", "is not TOML"),
        ('name = "../up"\ndescription = ""\nfiles = ["model.onnx"]', "name"),
        ('name = "x"\ndescription = ""\nfiles = ["model.tflite"]', r"files\.0"),
        ('name = "x"\ndescription = ""\nfiles = []', "files"),
        ('name = "x"\ndescription = ""\nfiles = ["model.onnx"]\nopset = 9', "opset"),
        ('name = "x"\ndescription = ""\nfiles = ["model.onnx"]\nspeed = 1', "speed"),
    ],
)
def test_a_faulty_file_is_refused_with_its_path_and_key(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(line)
    with pytest.raises(UserError, match=complaint) as error:
        load_target(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def own_file(folder: Path, text: str, name: str = "own.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_file_that_extends_a_shipped_target_says_only_what_differs(tmp_path: Path) -> None:
    own = 'extends = "android"\nname = "till"\nfiles = ["model.onnx"]\n[tolerance.int8]\ntop1_agreement = 0.9\n'
    target, android = load_target(own_file(tmp_path, own)), load_target("android")
    assert (target.name, target.files, target.tolerance.int8.top1_agreement) == ("till", ["model.onnx"], 0.9)
    assert target.tolerance.int8.accuracy_lost == android.tolerance.int8.accuracy_lost
    changed = {"name", "files", "tolerance"}
    assert target.model_dump(exclude=changed) == android.model_dump(exclude=changed)


def test_a_file_can_extend_another_file_of_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_file(tmp_path, 'extends = "ios"\nname = "base"\nopset = 19\n', "base.toml")
    path = own_file(tmp_path, 'extends = "base.toml"\nname = "kiosk"\n', "kiosk.toml")
    monkeypatch.chdir("/")
    assert (load_target(path).name, load_target(path).opset) == ("kiosk", 19)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('extends = "android"\n', r"name: Field required"),
        ('extends = "andriod"\nname = "x"\n', r"extends: unknown target 'andriod'; did you mean 'android'\?"),
        ('extends = "none.toml"\nname = "x"\n', r"extends: cannot read target .*none\.toml: No such file"),
        ('extends = "own.toml"\nname = "x"\n', r"extends: 'own\.toml' extends this file itself"),
        ('extends = 3\nname = "x"\n', r"extends: name one target"),
        ('extends = "android"\nname = "x"\n[budget]\ndisk_bytes = 0\n', r"budget\.disk_bytes: Input should be greater"),
        (
            'extends = "android"\nname = "x"\n[budget]\ndisc_bytes = 9\n',
            r"unknown key 'disc_bytes'; did you mean 'disk_b",
        ),
        ('extends = "android"\nname = "x"\n[budget.privacy]\nauc = 0.3\n', r"budget\.privacy: auc=0\.3: an AUC budget"),
        (
            'extends = "android"\nname = "x"\n[budget.privacy]\nacu = 0.6\n',
            r"budget\.privacy: 'acu' is no figure to hold",
        ),
        ('extends = "android"\nname = "x"\n[tolerance]\nint8 = 3\n', r"tolerance\.int8: Input should be a valid dict"),
        ('extends = "android"\nname = "x"\ntolerance = 3\n', r"tolerance: Input should be a valid dict"),
        (
            'extends = "android"\nname = "x"\nfiles = ["model.onnx", "model.onnx"]\n',
            r"files: 'model\.onnx' is named twice",
        ),
        ('extends = "android"\nname = "x"\n[runtimes.tflite]\npackage = "p"\nminimum = "1"\n', r"runtimes\.tflite"),
    ],
)
def test_a_faulty_extension_is_one_line_with_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as error:
        load_target(own_file(tmp_path, text))
    assert str(tmp_path / "own.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_two_files_that_extend_each_other_are_told_so(tmp_path: Path) -> None:
    own_file(tmp_path, 'extends = "b.toml"\nname = "a"\n', "a.toml")
    own_file(tmp_path, 'extends = "a.toml"\nname = "b"\n', "b.toml")
    with pytest.raises(UserError, match=r"extends this file itself; let one of them stand alone"):
        load_target(str(tmp_path / "a.toml"))


def test_shipped_targets_bound_sizes_and_leave_privacy_to_the_recipe() -> None:
    for target in list_targets():
        assert target.budget.disk_bytes or target.budget.download_bytes
        assert target.budget.privacy == {}


def run_in(folder: Path) -> RunDir:
    run = RunDir(folder / "runs" / "x")
    Recipe(name="x").write(run.recipe)
    return run


def test_a_run_finds_its_users_target_from_another_folder_and_after_it_is_gone(tmp_path, monkeypatch) -> None:
    run = run_in(tmp_path)
    own_file(tmp_path, 'extends = "android"\nname = "till"\n', "till.toml")
    monkeypatch.chdir(tmp_path)
    kept = load_target("./till.toml")
    keep_target(run, "./till.toml")
    (tmp_path / "till.toml").unlink()
    monkeypatch.chdir("/")
    assert target_of_run(run, "./till.toml") == kept
    dense = RunDir(run.root / "dense")
    Recipe(name="dense").write(dense.recipe)
    keep_target(dense, "./till.toml")
    assert target_of_run(dense, "./till.toml") == kept


def test_a_run_keeps_no_copy_of_a_shipped_target(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    keep_target(run, "android")
    assert not run.target.exists()
    assert target_of_run(run, "android") == load_target("android")


def test_a_users_target_that_changed_since_the_run_began_is_told(tmp_path: Path) -> None:
    run, path = run_in(tmp_path), own_file(tmp_path, 'extends = "android"\nname = "till"\n')
    keep_target(run, path)
    require_same_target(run, path)
    own_file(tmp_path, 'extends = "android"\nname = "till"\nopset = 21\n')
    with pytest.raises(UserError, match=r"own\.toml is no longer the target .* choose another --name, or --fresh"):
        require_same_target(run, path)
    assert target_of_run(run, path).opset == load_target("android").opset
