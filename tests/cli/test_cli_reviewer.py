"""The reviewer's install, without torch and the other extras: what works, and what says which extra it needs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = ("torch", "torchvision", "executorch", "accelerate", "transformers", "pandas", "pyarrow", "onnxscript")

# the import system and the metadata both answer as where the packages were never installed
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder
from importlib.metadata import MetadataPathFinder

ABSENT = {EXTRAS!r}


class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

    @staticmethod
    def find_distributions(*args, **kwargs):
        return (one for one in MetadataPathFinder.find_distributions(*args, **kwargs) if one.name not in ABSENT)


sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def reviewer(home, tmp_path):
    """Types a command where the extras are not installed; returns its process."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(WITHOUT)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{os.environ['PYTHONPATH']}"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "safedeploy", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            cwd=home,
        )

    return run


def only_line(answer) -> str:
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.startswith("safedeploy: ")
    assert answer.stderr.count("\n") == 1
    return answer.stderr


def test_an_onnx_file_is_audited_and_the_neural_attacks_say_what_they_need(reviewer, stranger):
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    answer = reviewer("audit", stranger.model, *sides, "--budget", "auc=1", "--json")
    assert answer.returncode == 0, answer.stderr
    evidence = json.loads(answer.stdout)
    assert evidence["verdict"]["budget"] == {"auc": 1}
    assert "loss-by-class" in [attack["name"] for attack in evidence["attacks"]]
    reasons = {attack["name"]: attack["reason"] for attack in evidence["not_run"]}
    of_torch = {name for name, reason in reasons.items() if "safedeploy[train]" in reason}
    assert of_torch == {"neural-black", "neural-white", "gradient-norm"}
    for_references = {name for name, reason in reasons.items() if "safedeploy references" in reason}
    assert set(reasons) - of_torch - for_references == {"augment-averaged"}  # the inputs are no images
    assert {"boosted", "quantile", "noise-averaged"} <= {attack["name"] for attack in evidence["attacks"]}
    assert "torch" not in evidence["versions"]
    assert "neural-black" in reviewer("audit", stranger.model, *sides, "--attacks", "loss,neural-black").stdout


def test_a_budget_is_enforced(reviewer, leaking):
    sides = ["--members", leaking.members, "--nonmembers", leaking.nonmembers]
    sides += ["--attacks", "loss,boosted"]
    answer = reviewer("audit", leaking.model, *sides, "--budget", "auc=0.6", "--json")
    assert (answer.returncode, json.loads(answer.stdout)["verdict"]["outcome"]) == (3, "fail")


@pytest.mark.parametrize("command", ["targets", "data", "doctor"])
def test_what_lists_works(reviewer, command):
    answer = reviewer(command)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_doctor_says_which_extra_brings_what(reviewer):
    findings = {one["what"]: one for one in json.loads(reviewer("doctor", "--json").stdout)}
    assert findings["ONNX Runtime"]["state"] == "ok"
    for what, extra in (("torch devices", "train"), ("torchvision", "train"), ("ExecuTorch", "executorch")):
        assert findings[what]["state"] == "missing"
        assert f"safedeploy[{extra}]" in findings[what]["detail"]


def test_the_report_of_a_run_made_elsewhere(reviewer, home, trained_run):
    shutil.copytree(trained_run, home / "runs" / "tiny")
    answer = reviewer("report", "runs/tiny")
    assert answer.returncode == 0, answer.stderr
    assert Path(home / answer.stdout.strip()).is_file()


def test_a_file_is_inspected(reviewer, stranger):
    answer = reviewer("inspect", stranger.model, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["white_box"] == ""


@pytest.mark.slow
def test_a_file_is_timed(reviewer, stranger):
    answer = reviewer("bench", stranger.model, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["latency_ms"]["queries"] >= 128


def test_training_says_which_extra_it_needs_and_writes_nothing(reviewer, home):
    for command in ("compress", "run"):
        assert "safedeploy[train]" in only_line(reviewer(command, "--data", "digits"))
    assert list(home.iterdir()) == []


def test_exporting_says_which_extra_it_needs(reviewer, home, trained_run):
    shutil.copytree(trained_run, home / "runs" / "tiny")
    assert "safedeploy[train]" in only_line(reviewer("export", "runs/tiny", "--target", "android"))


def test_a_pte_file_says_which_extra_it_needs(reviewer, stranger, home):
    program = bytes(4) + b"ET12" + bytes(100)
    (home / "model.pte").write_bytes(program)
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    assert "safedeploy[executorch]" in only_line(reviewer("audit", "model.pte", *sides))
    assert "safedeploy[executorch]" in only_line(reviewer("bench", "model.pte"))
