"""ADMM under hard budgets: its steps by hand, where it is known to end, its pull by autograd, budgets and bad input."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.compose import make_recipe
from safedeploy.compression import compress
from safedeploy.errors import UserError
from safedeploy.methods.help import parts_help
from safedeploy.methods.registry import make_method, read_options
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.masks import shapes
from safedeploy.training.device import make_accelerator
from safedeploy.training.group import train_group
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.many import Job
from safedeploy.training.together import Together


def mcmia(toy, density=0.2, seed=0, **options):
    return make_method(MethodRecipe(name="mcmia", density=density, options=options), toy.context(density, seed))


class Towards(Hooks):
    """The loss ½ ‖W − A‖² in place of cross-entropy: its solution under a budget is the k largest of A."""

    def __init__(self, name, goal):
        self.name, self.goal = name, goal

    def loss(self, logits, labels, training):
        return 0.5 * (training.parameters[self.name] - self.goal).square().sum()


def one_layer(toy, hooks, weights, recipe, log=lambda event: None):
    """A training of one linear layer that begins at these weights."""
    module = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    module.load_state_dict({"weight": weights.clone()})
    count = 40
    x, y = torch.zeros(count, weights.shape[1]), torch.zeros(count, dtype=torch.int64)
    training = Training(module, x, y, recipe, 0, make_accelerator("cpu", "float32"), hooks, log)
    hooks.begin(training)
    hooks.attach(training)
    return training


PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "milestones": [], "batch_size": 40, "device": "cpu"}


def test_two_rounds_by_hand(toy):
    """W = (3, 1, −2, 0.5), l = 1, ρ 1 then 2: Z1 = (3, 0, 0, 0), U1 = (0, 1, −2, 0.5).

    The pull is W − Z1 + U1 = (0, 2, −4, 1). With W = (1, 1, −2, 0.5) at the second Z-step, W + U1 is (1, 2, −4, 1):
    Z2 = (0, 0, −4, 0), and U2 is half of (1, 2, 0, 1), since ρ doubles. The pull is 2 (W − Z2 + U2) = 2 (1.5, 2, 2, 1).
    """
    hooks = mcmia(toy, density=0.25, rho_start=1.0, rho_end=2.0, interval=2, prune_at=0.6)
    recipe = TrainingRecipe(epochs=10, learning_rate=1.0, **PLAIN)
    events = []
    training = one_layer(toy, hooks, torch.tensor([[3.0, 1.0, -2.0, 0.5]]), recipe, events.append)
    assert (hooks.cut(training), hooks.interval(training)) == (6, 1)  # one every step, so that there are at least 8
    hooks.interval = lambda training: 2

    def at(step, weights, gradient=None):
        training.step = step
        training.parameters["weight"].data = torch.tensor([weights])
        training.parameters["weight"].grad = torch.zeros(1, 4)
        if gradient is None:
            hooks.after_step(training)
        else:
            hooks.after_backward(training)
            torch.testing.assert_close(training.parameters["weight"].grad, torch.tensor([gradient]))

    at(1, [3.0, 1.0, -2.0, 0.5], [0.0, 0.0, 0.0, 0.0])  # dense until the first Z-step
    at(2, [3.0, 1.0, -2.0, 0.5])
    at(3, [3.0, 1.0, -2.0, 0.5], [0.0, 2.0, -4.0, 1.0])
    at(4, [1.0, 1.0, -2.0, 0.5])
    torch.testing.assert_close(hooks._z["weight"], torch.tensor([[0.0, 0.0, -4.0, 0.0]]))
    torch.testing.assert_close(hooks._u["weight"], torch.tensor([[0.5, 1.0, 0.0, 0.5]]))
    at(5, [1.0, 1.0, -2.0, 0.5], [3.0, 4.0, 4.0, 2.0])
    assert [event["rho"] for event in events] == [1.0, 2.0]
    assert events[0]["residual"] == pytest.approx((5.25 / 14.25) ** 0.5)
    at(6, [1.0, 1.0, -2.0, 0.5])
    assert training.masks["weight"].tolist() == [[False, False, True, False]]
    assert training.parameters["weight"].tolist() == [[0.0, 0.0, -2.0, 0.0]]
    at(7, [0.0, 0.0, -2.0, 0.0], [0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("kept", [1, 3, 8])
def test_on_a_quadratic_it_ends_at_the_nearest_matrix_within_the_budget(toy, kept):
    goal = torch.randn(4, 5, generator=torch.Generator().manual_seed(kept))
    options = {"rho_start": 1.0, "rho_end": 1.0, "interval": 20, "prune_at": 0.8}
    hooks = mcmia(toy, density=kept / 20, **options)
    recipe = TrainingRecipe(epochs=1000, learning_rate=0.1, **PLAIN)
    events = []
    both = Together({"mcmia": hooks, "quadratic": Towards("weight", goal)})
    training = one_layer(
        toy, both, torch.randn(4, 5, generator=torch.Generator().manual_seed(9)), recipe, events.append
    )
    training.begun = True
    train(training, after_epoch=lambda training: None)
    largest = goal.abs().flatten().topk(kept).indices
    nearest = torch.zeros(20)
    nearest[largest] = goal.flatten()[largest]
    torch.testing.assert_close(training.parameters["weight"].detach().flatten(), nearest, rtol=0, atol=1e-4)
    residuals = [event["residual"] for event in events]
    assert residuals[-1] < 0.05 < residuals[0]


def test_the_pull_is_the_gradient_of_the_augmented_term(toy):
    """∂/∂W of Σ ρ/2 ‖W − Z + U‖², by autograd, on top of the loss's own gradient."""
    hooks = mcmia(toy, rho_start=0.3, rho_end=0.3)
    x, y = toy.tensors(toy.samples(100, 0))
    training = Training(toy.network(), x, y, toy.recipe, 0, make_accelerator("cpu", "float32"), hooks, lambda e: None)
    hooks.begin(training)
    hooks.attach(training)
    for _ in range(2 * hooks.interval(training)):
        training.one_step()
        hooks.after_step(training)
    named = {name: parameter.detach().clone().requires_grad_() for name, parameter in training.parameters.items()}
    terms = [(named[name] - z + hooks._u[name]).square().sum() for name, z in hooks._z.items()]
    assert set(hooks._z) == {"0.weight", "3.weight", "5.weight"}
    torch.stack(terms).sum().mul(0.3 / 2).backward()
    for parameter in training.parameters.values():
        parameter.grad = torch.full_like(parameter, 0.5)
    hooks.after_backward(training)
    for name, parameter in training.parameters.items():
        wanted = 0.5 if named[name].grad is None else 0.5 + named[name].grad
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter) + wanted)


def test_z_keeps_the_budgets_and_u_is_what_is_left(toy):
    hooks = mcmia(toy, rho_start=0.1, rho_end=0.1)
    x, y = toy.tensors(toy.samples(100, 0))
    training = Training(toy.network(), x, y, toy.recipe, 0, make_accelerator("cpu", "float32"), hooks, lambda e: None)
    hooks.begin(training)
    hooks.attach(training)
    budgets = erk(shapes(training.module), 0.2)
    for _ in range(4 * hooks.interval(training)):
        training.one_step()
        before = {name: hooks._u.get(name, torch.zeros_like(p)) + p.detach() for name, p in training.parameters.items()}
        old = hooks._z
        hooks.after_step(training)
        if hooks._z is not old:
            assert {name: int(z.count_nonzero()) for name, z in hooks._z.items()} == budgets
            for name, z in hooks._z.items():
                torch.testing.assert_close(z + hooks._u[name], before[name])
    assert training.masks == {}


def test_weights_come_near_their_budgets_before_the_cut(toy, tmp_path):
    """So that the cut costs less than magnitude's of as many steps."""
    recipe = toy.recipe.model_copy(update={"epochs": 20})
    made = toy.train(tmp_path, mcmia(toy, rho_start=0.01, rho_end=1.0), recipe)
    residuals = [event["residual"] for event in made.events if event["event"] == "admm"]
    assert len(residuals) >= 8
    assert residuals[-1] < 0.2 < 0.6 < residuals[0]


def test_a_users_own_budgets_are_kept_and_erk_gives_the_rest(toy, tmp_path):
    made = toy.train(tmp_path, mcmia(toy, budgets={"0": 17, "3.weight": 50}))
    counts = {name: int(mask.sum()) for name, mask in made.masks.items()}
    assert counts == erk(shapes(made.module), 0.2) | {"0.weight": 17, "3.weight": 50}


@pytest.mark.parametrize("typed", ["0=17", ["0=17", "3.weight=50"], {"0": "17"}])
def test_budgets_as_the_command_line_gives_them(typed):
    assert read_options(MethodRecipe(name="mcmia", options={"budgets": typed})).budgets["0"] == 17


@pytest.mark.parametrize(
    ("budgets", "fault"),
    [
        ({"4": 10}, "unknown layer in budgets '4'"),
        ({"0": 601}, "budgets: 0 has 600 weights and cannot keep 601 of them"),
    ],
)
def test_a_budget_that_no_layer_can_have_is_one_line_before_anything_is_trained(toy, budgets, fault):
    with pytest.raises(UserError, match=fault) as caught:
        mcmia(toy, budgets=budgets).check(toy.network())
    assert "\n" not in str(caught.value)


def test_nothing_is_written_where_a_budget_cannot_be(tmp_path):
    recipe = make_recipe(data="digits", method="mcmia", options={"budgets": "fc9=10"})
    with pytest.raises(UserError, match="unknown layer in budgets 'fc9'; did you mean 'fc3'"):
        compress(recipe, tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budgets", ["0", "0=0", "0=many", {"0": -3}])
def test_a_budget_that_is_no_count_is_named(budgets):
    with pytest.raises(UserError, match="--method mcmia: budgets"):
        read_options(MethodRecipe(name="mcmia", options={"budgets": budgets}))


def test_budgets_count_weights_and_not_channels(toy):
    context = toy.context(0.2)
    recipe = MethodRecipe(name="mcmia", density=0.2, structure="filter", options={"budgets": "0=17"})
    hooks = make_method(recipe, type(context)(**{**vars(context), "structure": "filter"}))
    with pytest.raises(UserError, match="budgets count single weights: leave them out, or --structure filter"):
        hooks.check(toy.network())


@pytest.mark.parametrize("structure", ["filter", "column", "block:1x2", "1:2"])
def test_a_structure_is_kept_in_whole_units(toy, tmp_path, structure):
    density = 0.5 if structure == "1:2" else 0.3
    context = toy.context(density)
    context = type(context)(**{**vars(context), "structure": structure})
    hooks = make_method(MethodRecipe(name="mcmia", density=density, structure=structure), context)
    mask = toy.train(tmp_path, hooks).masks["3.weight"]
    if structure == "filter":
        assert set(mask.sum(1).tolist()) == {0, 60}
    elif structure == "column":
        assert set(mask.sum(0).tolist()) == {0, 40}
    elif structure == "block:1x2":
        assert torch.equal(mask[:, 0::2], mask[:, 1::2])
    else:
        assert (mask.view(40, 30, 2).sum(2) == 1).all()


def test_without_the_game_its_options_are_refused():
    for name, value in {"attacker": "white", "weight": 2.0, "start_epoch": 0}.items():
        with pytest.raises(UserError, match=f"--method mcmia: {name} is the min-max game's: add --min-max"):
            read_options(MethodRecipe(name="mcmia", options={name: value}))
        read_options(MethodRecipe(name="mcmia", options={name: value, "min_max": True}))


def test_the_min_max_game_is_played_and_changes_the_weights(toy, tmp_path):
    options = {"min_max": True, "first_steps": 5, "attacker_steps": 1}
    plain, played = toy.train(tmp_path / "plain", mcmia(toy)), toy.train(tmp_path / "played", mcmia(toy, **options))
    assert [event for event in plain.events if event["event"] == "game"] == []
    assert len([event for event in played.events if event["event"] == "game"]) == 6
    assert not torch.equal(plain.weights["0.weight"], played.weights["0.weight"])
    counts = [{name: int(mask.sum()) for name, mask in made.masks.items()} for made in (plain, played)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("cut", [11, 27, 33])
def test_a_resumed_min_max_ends_with_the_same_bits(toy, tmp_path, cut):
    """Cut off between Z-steps, short of the cut and after it (of 60 steps, at 30)."""

    options = {"min_max": True, "attacker": "both", "first_steps": 5, "attacker_steps": 1}
    recipe = toy.recipe.model_copy(update={"epochs": 4})
    whole = toy.train(tmp_path / "whole", mcmia(toy, **options), recipe)
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(mcmia(toy, **options), cut), recipe)
    resumed = toy.train(tmp_path / "cut", mcmia(toy, **options), recipe)
    toy.assert_same_bits(whole, resumed)


def test_models_in_a_stack_get_the_weights_they_get_alone(toy):
    x, y = toy.tensors(toy.samples(300, 20))
    rows = [np.random.default_rng(k).permutation(300)[:100] for k in range(3)]

    def jobs():
        made = []
        for k, chosen in enumerate(rows):
            generator = torch.Generator().manual_seed(k)
            module = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 3))
            for parameter in module.parameters():
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
            made.append(Job(module, chosen, mcmia(toy, seed=k), k))
        return made

    together, alone = jobs(), jobs()
    train_group(together, (x, y), toy.recipe, lambda steps: None)
    for job in alone:
        train_group([job], (x, y), toy.recipe, lambda steps: None)
    for a, b in zip(together, alone, strict=True):
        for name, value in b.module.state_dict().items():
            assert int(value.count_nonzero()) == int(a.module.state_dict()[name].count_nonzero())
            torch.testing.assert_close(a.module.state_dict()[name], value, rtol=0, atol=1e-5)


def test_the_help_says_what_budgets_are_typed_as():
    (own,) = parts_help("mcmia", [])
    budgets = next(option for option in own.options if option.name == "budgets")
    assert (budgets.type, budgets.default) == ("NAME=integer,…", "none")
    assert {option.name for option in own.options} >= {"min_max", "rho_start", "attacker"}
