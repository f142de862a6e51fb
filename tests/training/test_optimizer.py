"""The optimiser that a recipe names, and what masks do to its memory."""

import copy

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from safedeploy.recipe import TrainingRecipe
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training
from safedeploy.training.optimizer import MOMENTS, Sgd
from safedeploy.training.stacked import can_stack


def training(optimizer: str) -> Training:
    torch.manual_seed(0)
    recipe = TrainingRecipe(
        optimizer=optimizer, learning_rate=0.01, momentum=0.9, weight_decay=0.1, epochs=3, batch_size=8, device="cpu"
    )
    x, y = torch.randn(16, 5), torch.arange(16) % 3
    return Training(nn.Linear(5, 3), x, y, recipe, 0, Accelerator(cpu=True), Hooks(), lambda event: None)


@pytest.mark.parametrize("decay", [0.0, 5e-4])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torch_s_to_the_bit(momentum, decay):
    """Over steps of which some give a layer no gradient, the first among them; weights laid out by channels too."""
    torch.manual_seed(0)
    first = nn.ModuleList([nn.Conv2d(3, 5, 3), nn.Linear(7, 11), nn.Linear(7, 11)]).to(
        memory_format=torch.channels_last
    )
    second = copy.deepcopy(first)
    given = {"lr": 0.1, "momentum": momentum, "weight_decay": decay, "nesterov": momentum > 0}
    ours, theirs = Sgd(first.parameters(), **given), torch.optim.SGD(second.parameters(), **given)
    for step in range(12):
        for weight, other in zip(first.parameters(), second.parameters(), strict=True):
            weight.grad = torch.randn(weight.shape).to(memory_format=torch.preserve_format)
            other.grad = weight.grad.clone()
        if step in (0, 1, 5):
            for weight in (*first[1].parameters(), *second[1].parameters()):
                weight.grad = None
        ours.step()
        theirs.step()
        for weight, other in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(weight, other)
    assert [set(state) for state in ours.state.values()] == [set(state) for state in theirs.state.values()]


def test_adamw_s_first_step_by_hand():
    """Loshchilov & Hutter 2019, algorithm 2: both moments corrected, the first step is lr · g / (|g| + ε), and the
    decay is apart from it."""
    one = training("adamw")
    before = one.module.weight.detach().clone()
    x, y = one.batch(0)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(one.module(x), y), [one.module.weight])
    one.one_step()
    wanted = before * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(one.module.weight, wanted, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_masked_stays_zero_and_is_forgotten(optimizer):
    one = training(optimizer)
    one.one_step()
    mask = torch.rand(3, 5) < 0.5
    one.set_masks({"weight": mask})
    kept = one.optimizer.state[one.module.weight]
    held = [kept[moment] for moment in MOMENTS if kept.get(moment) is not None]
    assert len(held) == {"sgd": 1, "adamw": 2}[optimizer]
    assert all(torch.equal(moment == 0, ~mask) for moment in held)
    one.one_step()
    assert torch.equal(one.module.weight == 0, ~mask)


def test_a_state_that_is_put_back_goes_on_alike():
    one = training("adamw")
    one.one_step()
    state = one.state()
    one.one_step()
    first = one.module.weight.detach().clone()
    one.restore(state)
    one.one_step()
    assert torch.equal(one.module.weight, first)


def test_a_stack_is_of_sgd_alone():
    assert can_stack(Hooks(), TrainingRecipe()) is None
    assert can_stack(Hooks(), TrainingRecipe(optimizer="adamw")) == "the moments of adamw are each training's own"
