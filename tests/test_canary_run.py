"""Canaries through a whole run: fair coins put them into training, and the audit reads ε off the file that ships."""

import json

import numpy as np
import pytest

from safedeploy.compression import load_examples
from safedeploy.data.canaries import read_canaries
from safedeploy.rundir import RunDir


@pytest.fixture
def with_canaries(typed, home):
    (home / "one.toml").write_text('name = "one"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    options = ["--epochs", "25", "--batch-size", "32", "--target", "one.toml", "--model", "mlp", "--device", "cpu"]
    answer = typed("compress", "--method", "dense", "--name", "c", "--canaries", "200", *options)
    assert answer.code == 0, answer.err
    assert typed("export", "runs/c").code == 0
    return RunDir(home / "runs/c")


def test_canaries_are_memorised_stored_with_their_coins_and_bound_epsilon(typed, with_canaries):
    canaries = read_canaries(with_canaries.canaries)
    assert canaries.index.size == 200
    assert 70 < canaries.included.sum() < 130
    examples = load_examples(with_canaries)
    known = examples.split.indices("nonmember_known")
    assert len(examples.samples("nonmember_known").y) == np.setdiff1d(known, canaries.index).size < known.size
    trained = examples.training()
    members = examples.split.indices("member_known", "member_eval").size
    np.testing.assert_array_equal(trained.y[members:], canaries.label[canaries.included])
    file = with_canaries.root / "bundle/one/model.onnx"
    answer = typed("audit", file, "--canaries", "--attacks", "loss", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["canaries"]
    assert (found["canaries"], found["included"], found["kind"]) == (200, int(canaries.included.sum()), "mislabelled")
    assert found["auc"] > 0.8  # a wrong label can only be known by heart
    assert found["epsilon"]["low"] > 0.5


def test_asking_for_canaries_that_are_not_there_says_how_to_get_them(typed, shipped_run):
    fault = typed("audit", shipped_run / "bundle/pair/model.onnx", "--canaries", "--attacks", "loss").fault
    assert "compress --canaries" in fault


def test_more_canaries_than_examples_are_refused_before_training(typed, home):
    assert "ask for fewer" in typed("compress", "--canaries", "5000", "--model", "mlp").fault
    assert not (home / "runs").exists()
