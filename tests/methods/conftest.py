"""A data set with noisy labels, which a network can only memorise, and trainings of it by any method."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.data.samples import Samples
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.training.run import run_training

CLASSES, COLUMNS = 3, 10
RECIPE = TrainingRecipe(epochs=6, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)


def samples(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, COLUMNS)).astype(np.float32)
    y = np.where(rng.random(count) < 0.6, np.argmax(x[:, :CLASSES], 1), rng.integers(CLASSES, size=count))
    return Samples(x, y.astype(np.int64))


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(COLUMNS, 60), nn.ReLU(), nn.Dropout(0.1), nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, CLASSES)
        )


def context(density=0.2, seed=0, members=100, **changes):
    sides = [samples(count, part) for part, count in enumerate((members, members, 80))]
    roles = dict(zip(("members", "nonmembers", "validation"), sides, strict=True)) | changes
    return Context(density, seed, CLASSES, (COLUMNS,), **roles)


def tensors(part):
    return torch.from_numpy(part.x), torch.from_numpy(part.y)


def method(name, options=None, density=None, seed=0):
    """The hooks of `name` with options that make much happen in few steps."""
    often = {"interval": 5, "gradient_steps": 2} if name in ("set", "rigl", "safecompress") else {}
    if name == "safecompress":
        often |= {"test_every": 2, "candidate_steps": 3, "first_steps": 10, "attacker_steps": 4}
    density = density or (1.0 if name == "dense" else 0.2)
    recipe = MethodRecipe(name=name, density=density, options=often | (options or {}))
    return make_method(recipe, context(density, seed))


def train(folder, hooks, recipe=RECIPE, seed=0):
    """Train on the known members and as many others: weights, masks and metrics."""
    known, others = samples(100, 0), samples(100, 10)
    x, y = (torch.cat(parts) for parts in zip(tensors(known), tensors(others), strict=True))
    module = network()
    files = {"metrics": folder / "metrics.jsonl", "checkpoints": folder / "checkpoints"}
    training = run_training(module, (x, y), tensors(samples(80, 2)), hooks, recipe, seed, **files)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return SimpleNamespace(
        training=training,
        module=module,
        masks=training.masks,
        weights={name: value.clone() for name, value in module.state_dict().items()},
        text=lines,
        events=[json.loads(line) for line in lines],
    )


class CutOff(Exception):  # noqa: N818
    """What ends a training in the middle, as a kill would."""


def cut_off(hooks, step):
    """`hooks`, which do at `step` what they do and then raise `CutOff`."""
    after_step = hooks.after_step

    def stop(training):
        after_step(training)
        if training.step >= step:
            raise CutOff

    hooks.after_step = stop
    return hooks


def assert_same_weights(wanted, found):
    """Tensors by name: the same names, and the same bits."""
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []


def assert_same_bits(whole, resumed):
    """Two that `train` made have the same weights, masks and log."""
    assert_same_weights(whole.weights, resumed.weights)
    assert_same_weights(whole.masks, resumed.masks)
    assert resumed.text == whole.text


@pytest.fixture(scope="session")
def toy():
    parts = (samples, network, context, tensors, method, train, CutOff, cut_off, assert_same_weights, assert_same_bits)
    return SimpleNamespace(**{part.__name__: part for part in parts}, recipe=RECIPE, classes=CLASSES)
