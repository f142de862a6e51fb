"""`safedeploy compress` cut off and resumed: the shipped weights are those of a run that was never cut off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import safedeploy
from safedeploy import pipeline
from safedeploy.recipe import validate

UPDATES = {"interval": 20, "gradient_steps": 5}
TESTS = {"test_every": 2, "candidate_steps": 5, "first_steps": 5, "attacker_steps": 2}


class CutOff(Exception):  # noqa: N818
    pass


def recipe(method, epochs):
    chosen = {"density": 0.1, "options": UPDATES | TESTS} if method == "safecompress" else {"density": 1.0}
    return validate(
        {
            "name": method,
            "model": {"name": "mlp"},
            "method": {"name": method, **chosen},
            "training": {"epochs": epochs, "batch_size": 32, "learning_rate": 0.05, "device": "cpu"},
        },
        "test",
    )


def assert_same(first, second):
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.metrics.read_bytes() == second.metrics.read_bytes()
    one, other = (json.loads(run.summary.read_text()) for run in (first, second))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("fraction", [0.05, 0.6])
@pytest.mark.parametrize("method", ["safecompress", "dense"])
def test_a_run_cut_off_before_or_after_its_first_checkpoint_resumes_to_the_same_file(tmp_path, method, fraction):
    def cut(stage):
        def stop(done):
            if done >= fraction:
                raise CutOff

        return stop

    whole = pipeline.compress(recipe(method, 4), tmp_path / "whole")
    with pytest.raises(CutOff):
        pipeline.compress(recipe(method, 4), tmp_path / "cut", progress=cut)
    assert not (tmp_path / "cut" / method / "model.safetensors").exists()
    assert_same(whole, pipeline.resume(tmp_path / "cut" / method))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["safecompress", "dense"])
def test_a_killed_process_resumes_to_the_same_file(tmp_path, method):
    """A real process, ended by SIGKILL once its first checkpoint is there and long before its last."""
    whole = pipeline.compress(recipe(method, 60), tmp_path / "whole")
    recipe(method, 60).write(tmp_path / "recipe.toml")
    command = [sys.executable, "-m", "safedeploy", "compress"]
    options = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(Path(safedeploy.__file__).parent.parent), "OMP_NUM_THREADS": "1"},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    run = tmp_path / "runs" / method
    process = subprocess.Popen([*command, "recipe.toml"], **options)
    deadline = time.monotonic() + 120
    while not list(run.glob("checkpoints/*.pt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert list(run.glob("checkpoints/*.pt"))
    assert not (run / "model.safetensors").exists()
    subprocess.run([*command, "--resume", str(run)], check=True, timeout=240, **options)
    assert_same(whole, pipeline.RunDir(run))
