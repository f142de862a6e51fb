"""safedeploy targets: lists, one in full, a user's own file checked; published figures never stand alone."""

import json
import shutil
from pathlib import Path

import pytest

from safedeploy.cli.show_targets import NO_PREDICTION

OWN = 'extends = "android"\nname = "till"\n[budget]\ndisk_bytes = 5_000_000\n'


def test_targets_are_listed_with_what_each_file_may_weigh(typed) -> None:
    answer = typed("targets")
    assert answer.code == 0
    assert all(word in answer.out for word in ("android", "ios", "linux-arm64", "100 MB zipped"))


def test_devices_are_listed_and_their_latencies_are_said_to_predict_nothing(typed) -> None:
    answer = typed("targets", "--devices")
    assert NO_PREDICTION in answer.out
    assert all(name in answer.out for name in ("oneplus-7t", "raspberry-pi-5", "ncnn"))
    listed = json.loads(typed("targets", "--devices", "--json").out)
    assert len(listed) >= 10
    assert {"id", "soc", "clusters", "abi", "published", "sources"} <= set(listed[0])


def test_one_device_in_full_shows_its_sources(typed) -> None:
    answer = typed("targets", "raspberry-pi-5")
    assert NO_PREDICTION in answer.out
    assert "source: Tencent/ncnn" in answer.out
    assert json.loads(typed("targets", "raspberry-pi-5", "--json").out)["name"] == "Raspberry Pi 5"


def test_one_target_in_full_is_toml_that_a_file_can_begin_with(typed, home) -> None:
    (home / "mine.toml").write_text(typed("targets", "linux-arm64").out.replace('"linux-arm64"', '"mine"'))
    assert json.loads(typed("targets", "./mine.toml", "--json").out)["name"] == "mine"


def test_a_users_file_is_checked_as_what_it_holds(typed, home) -> None:
    (home / "till.toml").write_text(OWN)
    assert json.loads(typed("targets", "till.toml", "--json").out)["budget"]["disk_bytes"] == 5_000_000
    (home / "board.toml").write_text('name = "B"\nkind = "bord"\nsources = ["s"]\n')
    assert typed("targets", "board.toml").fault.startswith(
        "device board.toml: kind: unknown value 'bord'; did you mean"
    )
    (home / "bad.toml").write_text(OWN + "disc = 3\n")
    assert "target bad.toml: budget.disc: unknown key 'disc'" in typed("targets", "bad.toml").fault


def test_a_folder_of_them_is_listed(typed, home) -> None:
    (home / "own").mkdir()
    assert typed("targets", "own").fault == "own holds no .toml file; give a folder of targets or devices"
    (home / "own" / "till.toml").write_text(OWN)
    assert [one["name"] for one in json.loads(typed("targets", "own", "--json").out)] == ["till"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["andriod"], "unknown target or device 'andriod'; did you mean 'android'?"),
        (["--devices", "android"], "unknown device 'android'"),
        (["none.toml"], "cannot read target none.toml: No such file"),
    ],
)
def test_an_unknown_one_is_one_line(typed, home, arguments: list[str], says: str) -> None:
    assert typed("targets", *arguments).fault.startswith(says)


def test_an_audit_holds_the_privacy_budget_of_the_runs_target_unless_another_is_given(typed, home, shipped_run) -> None:
    run = Path(shutil.copytree(shipped_run, home / "runs" / "tiny"))
    with (run / "target.toml").open("a") as target:
        target.write("auc = 0.9\n")  # its last table is [budget.privacy]

    def budget(*options: str) -> dict[str, float]:
        answer = typed("audit", run / "bundle" / "pair" / "model.onnx", "--attacks", "loss", "--json", *options)
        return json.loads(answer.out)["verdict"]["budget"]

    assert budget() == {"auc": 0.9}
    assert budget("--budget", "auc=0.95") == {"auc": 0.95}
