"""`dpsgd` from the command line: what it refuses before a run is begun, and what a run says of it."""

import json
from types import SimpleNamespace

import numpy as np

from safedeploy.report.words import three


def test_batch_norm_is_refused_before_anything_is_written(typed, home):
    options = ["--data", "digits", "--model", "resnet18", "--method", "dense", "--defence", "dpsgd"]
    assert "is a BatchNorm2d, which mixes" in typed("compress", *options).fault
    assert list(home.iterdir()) == []


def test_the_summary_says_the_guarantee(typed, home):
    options = [
        "--data",
        "digits",
        "--model",
        "mlp",
        "--method",
        "set",
        "--density",
        "0.3",
        "--epochs",
        "2",
        "--name",
        "r",
    ]
    dp = ["--defence", "dpsgd", "--option", "dpsgd.epsilon=4", "--option", "dpsgd.accountant=rdp", "--device", "cpu"]
    answer = typed("compress", *options, *dp)
    assert answer.code == 0
    summary = json.loads((home / "runs" / "r" / "summary.json").read_text())
    said = SimpleNamespace(**summary["guarantee"])
    assert 3.9 < said.epsilon <= 4.0
    assert said.delta == 1e-3
    assert f"ε {three(said.epsilon)} at δ 0.001" in answer.out
    assert np.isfinite(said.noise_multiplier)
