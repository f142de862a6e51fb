"""Workers beside this process: the same bits as here, models from the user's file too, and faults that come back."""

import copy
import pickle
import subprocess
import sys
from queue import SimpleQueue
from time import monotonic

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.recipe import TrainingRecipe
from safedeploy.training.group import Job, train_group
from safedeploy.training.hooks import Hooks
from safedeploy.training.many import train_many
from safedeploy.training.workers import Workers

RECIPE = TrainingRecipe(epochs=2, batch_size=16, learning_rate=0.05, device="cpu")
FACTORY = """
from torch import nn

class Own(nn.Sequential):
    pass

def make(input_shape, classes):
    print("a user's model may print")
    return Own(nn.Linear(*input_shape, 24), nn.Dropout(0.3), nn.ReLU(), nn.Linear(24, classes))
"""


def jobs_of(modules):
    return [Job(module, np.arange(k, 80 + k), Hooks(), k) for k, module in enumerate(modules)]


def through_worker(groups, jobs, pool, recipe=RECIPE):
    """What one worker says while it trains `groups`; it says nothing after a failure."""
    waiting, told = list(groups), SimpleQueue()
    workers = Workers(
        1, jobs, pool, recipe, lambda: waiting.pop(0) if waiting else None, lambda *event: told.put(event)
    )
    events = []
    try:
        while sum(kind != "steps" for kind, _ in events) < len(groups) and "failed" not in dict(events):
            events.append(told.get(timeout=120))
    finally:
        workers.close()
    return events


def test_a_worker_trains_to_the_bits_of_this_process_and_tells_every_step(small, tmp_path):
    """Two models as a stack, then one alone: of the user's own class, with dropout, from a file that prints."""
    (tmp_path / "own.py").write_text(FACTORY)
    pool = small.blobs(100)
    modules = [build_model(f"{tmp_path / 'own.py'}:make", (12,), 4, seed) for seed in range(3)]
    here = jobs_of(copy.deepcopy(modules))
    for group in ([0, 1], [2]):
        train_group([here[k] for k in group], pool, RECIPE, lambda steps: None)
    there = jobs_of(modules)
    events = through_worker([[0, 1], [2]], there, pool)
    assert sum(value for kind, value in events if kind == "steps") == 3 * 2 * 5
    assert [value for kind, value in events if kind == "trained"] == [[0, 1], [2]]
    for ours, theirs in zip(there, here, strict=True):
        small.assert_same_bits(ours.module.state_dict(), theirs.module.state_dict())
        assert not ours.module.training


def test_a_training_that_diverges_in_a_worker_is_the_users_error(small):
    recipe = RECIPE.model_copy(update={"learning_rate": 1e30})
    jobs = jobs_of([nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2)])
    kind, (group, error) = through_worker([[0, 1]], jobs, small.blobs(100), recipe)[-1]
    assert (kind, group) == ("failed", [0, 1])
    assert isinstance(error, UserError)
    assert "lower the learning rate" in str(error)


def test_a_model_that_no_other_process_can_open_is_handed_back_untouched(small):
    class Local(nn.Linear):
        """Of this function: pickle cannot find it by name."""

    jobs = jobs_of([Local(12, 4)])
    before = copy.deepcopy(jobs[0].module.state_dict())
    kind, (group, error) = through_worker([[0]], jobs, small.blobs(100))[-1]
    assert (kind, group) == ("failed", [0])
    assert not isinstance(error, UserError)
    small.assert_same_bits(jobs[0].module.state_dict(), before)


def test_closing_ends_a_worker_in_the_middle_of_its_training(small):
    recipe = RECIPE.model_copy(update={"epochs": 10**6})
    waiting, told = [[0]], SimpleQueue()
    workers = Workers(
        1,
        jobs_of([nn.Linear(12, 4)]),
        small.blobs(100),
        recipe,
        lambda: waiting.pop() if waiting else None,
        lambda *event: told.put(event),
    )
    assert told.get(timeout=120)[0] == "steps"
    started = monotonic()
    workers.close()
    assert monotonic() - started < 20


def test_a_worker_whose_master_was_killed_ends_without_a_word(small, tmp_path):
    places = [tmp_path / "x.npy", tmp_path / "y.npy"]
    for place, part in zip(places, small.blobs(100), strict=True):
        np.save(place, part.numpy())
    module, endless = nn.Linear(12, 4), RECIPE.model_copy(update={"epochs": 10**6})
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    asked = (sys.path, {}, places, endless), module, [(weights, Job(nn.Identity(), np.arange(80), Hooks(), 0))]
    command = [sys.executable, "-c", "from safedeploy.training.workers import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdin.write(b"".join(pickle.dumps(part) for part in asked))
        child.stdin.flush()
        child.stdout.read(1)
        child.stdout.close()
        assert child.wait(60) == 0
        assert child.stderr.read() == b""


def test_trainings_that_a_training_needs_start_no_workers_of_their_own(small, monkeypatch):
    """A defence's teachers, say, where reference models train: every core has one of those already."""

    class Needs(Hooks):
        def begin(self, training):
            apart = [nn.Linear(12, 4) for _ in range(2)]
            train_many(apart, pool, [np.arange(50)] * 2, [Alone(), Alone()], RECIPE, [0, 1], processes=2)

    class Alone(Hooks):
        alone = "it says so"

    def started(*given):
        raise RuntimeError

    pool = small.blobs(100)
    monkeypatch.setattr("safedeploy.training.many.Workers", started)
    train_group([Job(nn.Linear(12, 4), np.arange(80), Needs(), 0)], pool, RECIPE, lambda steps: None)
    with pytest.raises(RuntimeError):
        Needs().begin(None)


@pytest.mark.slow
def test_many_in_two_processes_get_the_weights_they_get_in_one(small):
    """Convolutions are not stacked on a CPU: eight groups, some of them trained beside this process."""
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(600, 1, 28, 28, generator=generator), torch.randint(10, (600,), generator=generator)
    modules = [build_model("lenet5", (1, 28, 28), 10, seed) for seed in range(8)]
    rows, hooks = [np.random.default_rng(k).permutation(600)[:300] for k in range(8)], [Hooks() for _ in range(8)]
    recipe = RECIPE.model_copy(update={"epochs": 12})
    one = train_many(copy.deepcopy(modules), pool, rows, hooks, recipe, range(8), processes=1)
    told, finished = [], []
    two = train_many(
        modules, pool, rows, hooks, recipe, range(8), progress=told.append, finished=finished.append, processes=2
    )
    for ours, theirs in zip(two, one, strict=True):
        small.assert_same_bits(ours.state_dict(), theirs.state_dict())
    assert sorted(finished) == list(range(8))
    assert told == sorted(told)
    assert told[-1] == 1.0
