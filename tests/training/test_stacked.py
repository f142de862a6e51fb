"""A stack of trainings: every model gets the weights that training it alone gives, whatever its method and layers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.group import Job, groups, pays
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.many import train_many
from safedeploy.training.stacked import Stack, can_stack
from safedeploy.training.stacked_layers import as_chain

RECIPE = TrainingRecipe(epochs=3, batch_size=16, learning_rate=0.05, device="cpu", checkpoint_seconds=0)
TOLERANCE = 1e-5  # float32 rounding over 18 steps; the weights themselves are near 0.3
SIZES = (100, 101, 99)  # 6 steps an epoch each


def mlp(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 24), nn.Tanh()), nn.Linear(24, 4, bias=False))


class Residual(nn.Module):
    """Convolutions, batch normalisation and a shortcut: no chain of layers."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(1, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.block = nn.Conv2d(6, 6, 3, padding=1, bias=False)
            self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.block(x).relu()
        return self.head(x.mean((2, 3)))


def images(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, 8, 8, generator=generator), torch.randint(4, (count,), generator=generator)


def rows_of(pool, sizes=SIZES):
    return [np.random.default_rng(k).permutation(len(pool[1]))[:size] for k, size in enumerate(sizes)]


def methods(name, pool, count, **options):
    """Hooks of `name` with another seed each."""
    known = Samples(pool[0][:60].numpy(), pool[1][:60].numpy())
    recipe = MethodRecipe(name=name, density=1 if name == "dense" else 0.3, options=options)
    return [make_method(recipe, Context(recipe.density, k, 4, (12,), known, known, known)) for k in range(count)]


@pytest.fixture
def alone(small, tmp_path):
    """Weights and statistics that `run_training` leaves, one model after another."""

    def train(modules, pool, rows, hooks, recipe, seeds):
        return [
            small.run_in(
                tmp_path / str(k), hooks[k], recipe, seeds[k], (pool[0][rows[k]], pool[1][rows[k]]), modules[k]
            ).weights
            for k in range(len(modules))
        ]

    return train


def stacked(modules, pool, rows, hooks, recipe, seeds):
    """As one stack, on any device and for any module."""
    accelerator = make_accelerator("cpu", recipe.precision)
    places = [torch.from_numpy(part) for part in rows]
    stack = Stack(modules, *pool, places, hooks, recipe, seeds, accelerator)
    stack.run(lambda: None)
    stack.release()
    return [module.state_dict() for module in modules]


def assert_near(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert torch.allclose(ours[name].double(), value.double(), rtol=0, atol=TOLERANCE), name


@pytest.mark.parametrize("method", ["dense", "magnitude", "set", "rigl"])
def test_each_model_of_a_stack_gets_the_weights_it_gets_alone(small, alone, method):
    """Other weights, samples, batch order and masks each; updates at every fourth step, each with another mask."""
    pool, seeds = small.blobs(200), [5, 6, 7]
    options = {"interval": 4} if method in ("set", "rigl") else {}
    rows = rows_of(pool)
    modules = [mlp(k) for k in range(3)]
    wanted = alone(copy.deepcopy(modules), pool, rows, methods(method, pool, 3, **options), RECIPE, seeds)
    found = stacked(modules, pool, rows, methods(method, pool, 3, **options), RECIPE, seeds)
    assert_near(found, wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert all(torch.equal(ours[name] == 0, theirs[name] == 0) for name in theirs)
    kept = [int(torch.count_nonzero(weights["2.weight"])) for weights in found]
    assert (kept == [96, 96, 96]) == (method == "dense")


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
def test_convolutions_running_statistics_and_shortcuts_are_stacked_too(augment):
    pool, seeds = images(200), [5, 6, 7]
    recipe = RECIPE.model_copy(update={"augment": augment})
    rows, modules = rows_of(pool), [Residual(k) for k in range(3)]

    wanted = []
    for k, module in enumerate(copy.deepcopy(modules)):
        x, y = pool[0][rows[k]], pool[1][rows[k]]
        one = Training(module, x, y, recipe, seeds[k], make_accelerator("cpu", "float32"), Hooks(), print)
        train(one, after_epoch=lambda training: None)
        wanted.append(module.state_dict())
    found = stacked(modules, pool, rows, [Hooks() for _ in seeds], recipe, seeds)
    assert_near(found, wanted)
    assert [int(weights["norm.num_batches_tracked"]) for weights in found] == [18, 18, 18]


def test_dropout_of_a_stack_drops_other_units_in_each_model_and_leaves_the_global_generator(small):
    """Models alike in weights and samples part, so their draws differ; half of the units stay, as alone."""
    pool = small.blobs(200)
    net = nn.Sequential(nn.Linear(12, 200), nn.Dropout(0.5), nn.Linear(200, 4))
    modules = [copy.deepcopy(net) for _ in range(2)]
    before = torch.get_rng_state()
    train_many(modules, pool, [np.arange(96)] * 2, [Hooks(), Hooks()], RECIPE, [3, 3])
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.allclose(modules[0][0].weight, modules[1][0].weight)

    parameters = {name: torch.stack([value.detach()] * 2) for name, value in net.named_parameters()}
    parameters["0.weight"].zero_()
    parameters["0.bias"].fill_(1.0)
    parameters["2.weight"].fill_(1 / 200)
    parameters["2.bias"].zero_()
    forward = as_chain(net, parameters)
    answers = forward(torch.ones(2, 50, 12))  # each the mean of 200 units that are 0 or 2
    assert answers.mean().item() == pytest.approx(1.0, abs=0.03)
    assert answers.std().item() == pytest.approx(1 / 200**0.5, rel=0.3)


def test_halves_that_differ_in_their_steps_are_two_stacks_and_each_keeps_its_own_batches(small, alone):
    """Of a pool of 191, halves of 96 and 95 have 6 and 5 batches of 16 an epoch."""
    pool = small.blobs(191)
    order = np.random.default_rng(0).permutation(191)
    rows = [order[:96], order[96:], order[50:146], order[:95]]
    modules, hooks = [mlp(k) for k in range(4)], [Hooks() for _ in range(4)]
    jobs = [Job(*parts) for parts in zip(modules, rows, hooks, range(4), strict=True)]
    assert groups(jobs, RECIPE, "cpu") == [[0, 2], [1, 3]]
    wanted = alone(copy.deepcopy(modules), pool, rows, hooks, RECIPE, range(4))
    told, finished = [], []
    trained = train_many(modules, pool, rows, hooks, RECIPE, range(4), progress=told.append, finished=finished.append)
    assert trained == modules
    assert_near([module.state_dict() for module in trained], wanted)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert sorted(finished) == [0, 1, 2, 3]
    assert not any(module.training for module in modules)


def test_a_set_smaller_than_a_batch_is_one_batch(small, alone):
    pool, rows = small.blobs(60), [np.arange(7), np.arange(20, 27)]
    modules = [mlp(k) for k in range(2)]
    wanted = alone(copy.deepcopy(modules), pool, rows, [Hooks(), Hooks()], RECIPE, [0, 1])
    train_many(modules, pool, rows, [Hooks(), Hooks()], RECIPE, [0, 1])
    assert_near([module.state_dict() for module in modules], wanted)


def test_a_loss_term_reaches_the_model_whose_hook_adds_it_and_no_other(small, alone):
    class Flatter(Hooks):
        def loss_term(self, logits, labels, training):
            return 0.5 * logits.square().mean()

    pool, modules = small.blobs(200), [mlp(k) for k in range(3)]
    hooks, rows = [Hooks(), Flatter(), Hooks()], rows_of(small.blobs(200))
    wanted = alone(copy.deepcopy(modules), pool, rows, hooks, RECIPE, [0, 1, 2])
    assert_near(stacked(modules, pool, rows, hooks, RECIPE, [0, 1, 2]), wanted)


class Listens(Hooks):
    """Notes what it hears, and when; ends the training after an epoch if it is told to."""

    def __init__(self, last=None):
        self.last, self.heard = last, []

    def attach(self, training):
        self.heard.append(("attach", training.begun))

    def after_step(self, training):
        self.heard.append(("step", training.step))

    def after_epoch(self, training):
        self.heard.append(("epoch", training.epoch, training.step, float(training.mean_loss)))
        if training.epoch == self.last:
            training.stop()

    def finish(self, training):
        self.heard.append(("finish", training.step))


@pytest.mark.parametrize("last", [None, 2])
def test_hooks_of_a_stack_hear_what_they_hear_alone_and_may_end_it(small, alone, last):
    pool, modules = small.blobs(200), [mlp(k) for k in range(2)]
    rows, theirs, ours = rows_of(pool)[:2], [Listens(last) for _ in range(2)], [Listens(last) for _ in range(2)]
    wanted = alone(copy.deepcopy(modules), pool, rows, theirs, RECIPE, [0, 1])
    assert_near(stacked(modules, pool, rows, ours, RECIPE, [0, 1]), wanted)
    for mine, other in zip(ours, theirs, strict=True):
        assert [part[:3] for part in mine.heard] == [part[:3] for part in other.heard]
        assert [part[3] for part in mine.heard if part[0] == "epoch"] == pytest.approx(
            [part[3] for part in other.heard if part[0] == "epoch"], rel=1e-4
        )
        assert mine.heard[0] == ("attach", True)
        assert mine.heard[-1] == ("finish", 12 if last else 18)


def test_a_stack_whose_hooks_end_apart_says_that_they_cannot_share_one(small):
    pool, modules = small.blobs(200), [mlp(k) for k in range(2)]
    with pytest.raises(ValueError, match=r"end after \[6, 18\] steps.*alone"):
        stacked(modules, pool, rows_of(pool)[:2], [Listens(1), Listens()], RECIPE, [0, 1])


def test_weights_that_two_layers_share_are_stacked(small, alone):
    def tied(seed):
        net = mlp(seed)
        twice = nn.Linear(24, 24)
        return nn.Sequential(net[1], twice, nn.ReLU(), twice, net[2])

    pool, modules = small.blobs(200), [tied(k) for k in range(2)]
    assert as_chain(modules[0], dict(modules[0].named_parameters())) is None
    rows, hooks = rows_of(pool)[:2], [Hooks(), Hooks()]
    wanted = alone(copy.deepcopy(modules), pool, rows, hooks, RECIPE, [0, 1])
    assert_near(stacked(modules, pool, rows, hooks, RECIPE, [0, 1]), wanted)


def test_frozen_weights_stay_as_they_are(small, alone):
    pool, modules = small.blobs(200), [mlp(k) for k in range(2)]
    for module in modules:
        module[1][0].weight.requires_grad_(False)
    fixed = [module[1][0].weight.clone() for module in modules]
    rows, hooks = rows_of(pool)[:2], [Hooks(), Hooks()]
    wanted = alone(copy.deepcopy(modules), pool, rows, hooks, RECIPE, [0, 1])
    assert_near(stacked(modules, pool, rows, hooks, RECIPE, [0, 1]), wanted)
    assert all(torch.equal(module[1][0].weight, before) for module, before in zip(modules, fixed, strict=True))


def test_the_trained_modules_hold_weights_of_their_own_and_not_the_stack(small):
    pool, modules = small.blobs(200), [mlp(k) for k in range(3)]
    train_many(modules, pool, rows_of(pool), [Hooks() for _ in range(3)], RECIPE, [0, 1, 2])
    for module in modules:
        for weights in module.parameters():
            assert weights.untyped_storage().nbytes() == 4 * weights.numel()
            assert weights.grad is None


def test_a_stack_that_diverges_says_what_to_do(small):
    pool, modules = small.blobs(200), [mlp(k) for k in range(2)]
    recipe = RECIPE.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(UserError, match="lower the learning rate"):
        train_many(modules, pool, rows_of(pool)[:2], [Hooks(), Hooks()], recipe, [0, 1])


def test_what_cannot_be_stacked_says_why_and_is_trained_alone(small, alone):
    pool = small.blobs(200)
    options = {"interval": 4, "test_every": 1, "test_samples": 25, "candidate_steps": 1}
    options |= {"first_steps": 4, "attacker_steps": 2}
    branching = methods("safecompress", pool, 2, **options)
    assert "steps of its own" in can_stack(branching[0], RECIPE)
    assert "float16" in can_stack(Hooks(), RECIPE.model_copy(update={"precision": "float16"}))
    assert can_stack(Hooks(), RECIPE) is None
    modules, rows = [mlp(k) for k in range(2)], rows_of(pool)[:2]
    wanted = alone(copy.deepcopy(modules), pool, rows, methods("safecompress", pool, 2, **options), RECIPE, [0, 1])
    train_many(modules, pool, rows, branching, RECIPE, [0, 1])
    for module, weights in zip(modules, wanted, strict=True):
        small.assert_same_bits(module.state_dict(), weights)


def test_convolutions_pay_on_a_gpu_alone():
    assert pays(mlp(), "cpu")
    assert not pays(Residual(), "cpu")
    assert pays(Residual(), "cuda")
