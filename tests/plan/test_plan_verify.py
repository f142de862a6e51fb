"""A plan measured: a small model built both ways, its files weighed and timed in their runtimes."""

import json

import pytest

from safedeploy.bench.protocol import Rules
from safedeploy.plan.verify import cpu_flags

OWN = """
from torch import nn

def small(classes):
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, classes),
    )
"""


@pytest.fixture
def own(home):
    (home / "own.py").write_text(OWN)
    return "own.py:small"


def verified(typed, own, *options):
    answer = typed("plan", "--model", own, "--input", "3x16x16", "--verify", "--json", *options)
    assert answer.code in (0, 1), answer.err
    made = json.loads(answer.out)
    refuted = [check for check in made["checks"] if not check["agrees"]]
    assert answer.code == (1 if refuted else 0), answer.err
    return made, refuted


def test_without_a_file_on_the_disk_afterwards(typed, own, home, tmp_path, monkeypatch):
    """ONNX Runtime alone, timed too briefly to judge times; what was said of sizes holds."""
    (home / "only.toml").write_text('name = "only"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("safedeploy.plan.verify.RULES", Rules(queries=5, seconds=0.05, block_seconds=0.02))
    monkeypatch.setattr("safedeploy.plan.verify.LOADS", 1)
    made, refuted = verified(typed, own, "--target", "only.toml", "--density", "0.7", "--structure", "channel")
    assert not [check for check in refuted if check["unit"] == "bytes"], refuted
    assert {check["claim"] for check in made["checks"]} >= {"disk, dense", "disk, as planned", "time, of dense"}
    assert made["machine"]["cores"]
    assert list(scratch.glob("safedeploy-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["irregular", "channel"])
def test_sizes_hold_for_every_file_of_a_phone(typed, own, structure):
    made, refuted = verified(typed, own, "--structure", structure, "--density", "0.7")
    assert {check["file"] for check in made["checks"]} == {
        "model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte",
    }  # fmt: skip
    assert not [check for check in refuted if check["unit"] == "bytes"], refuted


def test_the_cpus_flags_are_read():
    assert cpu_flags() & {"avx2", "sse2", "asimd"}
