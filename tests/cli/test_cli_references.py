"""`safedeploy references` as typed: what it prints, what it refuses in one line, how it is stopped and continued."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from safedeploy.results import ReferenceSet

BOTH = ("references", "--members", "m.npz", "--nonmembers", "n.npz", "--out", "r")


@pytest.fixture
def files(home) -> tuple[Path, Path]:
    """Two files of table samples."""
    generator = np.random.default_rng(0)
    for name in ("m", "n"):
        y = np.arange(80) % 2
        np.savez(home / f"{name}.npz", x=(generator.standard_normal((80, 5)) + y[:, None]).astype(np.float32), y=y)
    return home / "m.npz", home / "n.npz"


def test_two_files_give_references_and_a_table(typed, home, files):
    answer = typed(
        "references", "--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--count", 3, "--epochs", 1
    )
    assert answer.code == 0, answer.err
    assert answer.err.count("3 references: done") == 1
    assert all(said in answer.out for said in ("model.onnx", "mlp, dense", "160 × 1", "no partner"))
    assert ReferenceSet.read(home / "r" / "references.json").count == 3
    again = typed(
        "references", "--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--count", 3, "--epochs", 1, "--json"
    )
    (told,) = json.loads(again.out)
    assert (told["folder"], told["count"], told["made_for"]) == ("r", 3, "m.npz and n.npz")  # fmt: skip


def test_ctrl_c_says_what_to_type_and_the_same_command_finishes(home, files, typed, monkeypatch):
    from safedeploy import reference_build

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    command = (*BOTH, "--count", 2, "--epochs", 1)
    with monkeypatch.context() as patched:
        patched.setattr(reference_build, "_finish", stop)
        answer = typed(*command)
    assert answer.code == 130
    assert "what was finished is kept; type the same command to continue it" in answer.err
    assert typed(*command).code == 0
    assert sorted(path.name for path in (home / "r").iterdir()) == [
        "0000.npz",
        "0001.npz",
        "pool.npz",
        "references.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a run, or --members M.npz --nonmembers N.npz --out DIR"),
        (["--members", "m.npz", "--nonmembers", "n.npz"], "--out DIR"),
        (["--members", "m.npz", "--out", "r"], "--nonmembers"),
        (["nowhere"], "nowhere is not a run"),
        (["nowhere", "--members", "m.npz"], "--members is for samples without a run"),
        (["nowhere", "--seed", "0"], "--seed is for samples without a run"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--no-control"], "--no-control is for a run"),
        (["nowhere", "--batch-size", "8"], "--batch-size is for samples without a run"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--count", "0"], "--count 0"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--views", "2"], "--views 2"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--augment", "flip"], "flip is for images"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--files", "model.int8"], "model.int8.onnx"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "r", "--model", "lenet5"], "use mlp"),
        (["--members", "m.npz", "--nonmembers", "none.npz", "--out", "r"], "cannot read none.npz"),
        (["--members", "m.npz", "--nonmembers", "n.npz", "--out", "m.npz/r"], "cannot write m.npz/r"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(typed, home, files, arguments, said):
    assert said in typed("references", *arguments).fault
    assert not (home / "r").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(typed, home, files, monkeypatch):
    import os

    (home / "r").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)  # root may write anywhere
    fault = typed(*BOTH).fault
    assert "cannot write r/references.json" in fault
    assert list((home / "r").iterdir()) == []


def test_answers_of_unknown_origin_are_not_mixed_in(typed, home, files):
    (home / "r").mkdir()
    np.savez(home / "r" / "0000.npz", member=np.ones(3))
    fault = typed(*BOTH).fault
    assert "holds answers but no references.json" in fault


def test_without_torch_the_extra_is_named(typed, files, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else found(name, *a))
    monkeypatch.setitem(sys.modules, "torch", None)
    fault = typed(*BOTH).fault
    assert "safedeploy[train]" in fault
