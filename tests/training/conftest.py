"""A small data set that can be learned, a network with dropout and batch normalisation, and one training of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.recipe import TrainingRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training
from safedeploy.training.run import run_training

CLASSES, COLUMNS = 4, 12
RECIPE = TrainingRecipe(epochs=4, batch_size=16, learning_rate=0.05, device="cpu", checkpoint_seconds=0)


def blobs(count, seed=0):
    """`count` points around one centre a class: x (count, 12) float32, y (count,) int64."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, COLUMNS))
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=count)
    return torch.from_numpy((centres[y] + rng.normal(size=(count, COLUMNS))).astype(np.float32)), torch.from_numpy(y)


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(COLUMNS, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, CLASSES)
        )


def make_training(module=None, recipe=RECIPE, hooks=None, data=None, seed=0, log=None):
    x, y = data or blobs(100)
    accelerator = make_accelerator("cpu", recipe.precision)
    module = module if module is not None else network()
    return Training(module.train(), x, y, recipe, seed, accelerator, hooks or Hooks(), log or (lambda event: None))


def run_in(folder, hooks=None, recipe=RECIPE, seed=0, data=None, module=None, **options):
    """One training with its files in `folder`: its weights and its metrics."""
    module = module or network()
    training = run_training(
        module,
        data or blobs(100),
        blobs(40, seed=1),
        hooks or Hooks(),
        recipe,
        seed,
        metrics=folder / "metrics.jsonl",
        checkpoints=folder / "checkpoints",
        **options,
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return SimpleNamespace(
        training=training, weights=module.state_dict(), metrics=[json.loads(line) for line in lines], text=lines
    )


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture(scope="session")
def small():
    functions = {function.__name__: function for function in (blobs, network, make_training, run_in, assert_same_bits)}
    return SimpleNamespace(**functions, recipe=RECIPE)
