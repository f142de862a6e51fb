"""Targets: the shipped ones, a user's own file, and what is said about a bad one."""

from pathlib import Path

import pytest

from safedeploy.errors import UserError
from safedeploy.export.targets import list_targets, load_target, precision_of, runtime_of

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
