"""Ctrl-C in a real process: one line that says how to go on, and going on really works."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

DIGITS = ("--data", "digits", "--model", "mlp", "--seed", "5")
EPOCHS = 40


def epochs_done(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_text().count('"event": "epoch"') if metrics.exists() else 0


def stopped(home: Path, run: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Types the command and presses Ctrl-C when `run` has trained four epochs more."""
    before = epochs_done(run)
    with subprocess.Popen(
        [sys.executable, "-m", "safedeploy", *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        patience = time.monotonic() + 120
        while epochs_done(run) < before + 4 and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def test_compress_stopped_by_ctrl_c_continues_to_the_same_weights(typed, home):
    options = (*DIGITS, "--method", "set", "--density", "0.3", "--epochs", str(EPOCHS), "--device", "cpu")
    answer = stopped(home, home / "runs" / "cut", "compress", *options, "--name", "cut")
    assert answer.returncode == 130
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    last = answer.stderr.splitlines()[-1]
    assert last == "safedeploy: interrupted; continue with: safedeploy compress --resume runs/cut"
    assert not (home / "runs/cut/model.safetensors").exists()

    assert typed("compress", "--resume", "runs/cut").code == 0
    assert typed("compress", *options, "--name", "whole").code == 0
    cut, whole = (load_file(home / "runs" / name / "model.safetensors") for name in ("cut", "whole"))
    assert cut.keys() == whole.keys()
    assert all((cut[name] == whole[name]).all() for name in whole)


@pytest.mark.slow
def test_run_stopped_by_ctrl_c_in_the_controls_training_is_continued_by_the_same_command(home):
    options = ("run", *DIGITS, "--method", "set", "--density", "0.3", "--epochs", "4000", "--name", "cut")
    answer = stopped(home, home / "runs/cut/dense", *options)
    assert answer.returncode == 130
    last = answer.stderr.splitlines()[-1]
    assert last == "safedeploy: interrupted; what was finished is kept; type the same command to continue it"
    assert (home / "runs/cut/recipe.toml").exists()
    reached = epochs_done(home / "runs/cut/dense")
    assert stopped(home, home / "runs/cut/dense", *options).returncode == 130
    lines = (home / "runs/cut/dense/metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in lines if '"event": "epoch"' in line]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= reached + 3


def test_another_recipe_does_not_continue_a_stopped_run(typed, home, trained_run):
    """The control is trained first: its checkpoints must not be taken for those of another recipe."""
    run = Path(shutil.copytree(trained_run, home / "runs" / "tiny"))
    (run / "summary.json").unlink()
    assert "holds a run of another recipe" in typed("run", *DIGITS, "--name", "tiny", "--epochs", "3").fault


@pytest.mark.parametrize("command", ["data", "targets"])
def test_a_command_that_writes_nothing_is_started_again(home, monkeypatch, typed, command):
    import safedeploy.cli.show as show

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(show, "table", interrupt)
    answer = typed(command)
    assert answer.code == 130
    assert answer.err == "safedeploy: interrupted; type the same command to start again\n"
