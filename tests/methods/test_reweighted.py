"""`--method reweighted`: the penalty's gradient is the equation's, it empties groups, and the empty ones go."""

import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.methods.reweighted import Reweighted, ReweightedOptions
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.sparsity.shrink import shrink
from safedeploy.sparsity.structure import structured
from safedeploy.training.device import make_accelerator
from safedeploy.training.loop import Training, train
from safedeploy.training.many import train_many
from safedeploy.training.run import run_training

SHAPE = (4, 6, 6)
RECIPE = TrainingRecipe(epochs=4, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)
STRUCTURES = ["irregular", "filter", "column", "kernel", "channel", "block:1x4", "2:4", "pattern"]


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(4, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 3),
        )  # fmt: skip


def images(count=100, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *SHAPE, generator=generator)
    return x, x[:, :3].mean(dim=(2, 3)).argmax(1)


def training_of(toy, structure="irregular", density=0.5, recipe=RECIPE, module=None, **options):
    known = toy.samples(20, 0)
    context = Context(density, 0, 3, SHAPE, known, known, known, structure=structure)
    hooks = Reweighted(ReweightedOptions(**options), context)
    module = (module or network()).train()
    return Training(module, *images(), recipe, 0, make_accelerator("cpu", "float32"), hooks, lambda event: None)


def added(training):
    """What the penalty adds to gradients of zero."""
    for value in training.parameters.values():
        value.grad = torch.zeros_like(value)
    training.hooks.after_backward(training)
    return {name: value.grad.clone() for name, value in training.parameters.items()}


@pytest.mark.parametrize("step", [0, 4, 8])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_gradient_added_is_that_of_the_sum_of_weighted_group_norms(toy, structure, step):
    """γ Σ P ‖w‖ by autograd, at the start and where P has been renewed; no group is within a step of zero."""
    training = training_of(toy, structure, gamma=1e-6)
    training.step = step
    if step:
        training.hooks.starts = lambda training: [step]
    found = added(training)
    values = {name: value.detach().clone().requires_grad_() for name, value in training.parameters.items()}
    grouped = structured(training.module, SHAPE, "irregular" if structure == "pattern" else structure)
    norms = grouped.norms(values)
    penalty = sum((training.hooks.weights[name] * norm).sum() for name, norm in norms.items())
    for name, gradient in zip(
        values, torch.autograd.grad(penalty, list(values.values()), allow_unused=True), strict=True
    ):
        expected = torch.zeros_like(values[name]) if gradient is None else gradient
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-13)


def test_p_is_one_at_first_and_one_over_norm_plus_eps_after_by_hand(toy):
    """A filter layer with norms 3, 4 and 5: mean 4. 20 steps, the cut after 10, two phases of 5, no momentum, rate 0.1:
    a weight can go 5 · 0.1 = 0.5. So γP is 2 · 4 / 0.5 = 16 at first, then 16 / (norm/4 + 0.25): 16, 12.8 and 32/3."""
    recipe = RECIPE.model_copy(update={"momentum": 0.0, "learning_rate": 0.1})
    module = nn.Sequential(nn.Flatten(), nn.Linear(144, 3, bias=False), nn.ReLU(), nn.Linear(3, 3))
    training = training_of(toy, "filter", recipe=recipe, module=module, gamma=2, eps=0.25, milestones=1)
    first = training.parameters["1.weight"]
    with torch.no_grad():
        first.zero_()
        first[torch.arange(3), torch.arange(3)] = torch.tensor([3.0, -4.0, 5.0])
    assert training.hooks.starts(training) == [0, 5]
    added(training)
    assert training.hooks.weights["1.weight"].tolist() == pytest.approx([16, 16, 16])
    training.step = 5
    gradient = added(training)["1.weight"]
    assert training.hooks.weights["1.weight"].tolist() == pytest.approx([16, 12.8, 32 / 3])
    assert gradient.diagonal().tolist() == pytest.approx([16, -12.8, 32 / 3])
    assert int(gradient.count_nonzero()) == 3


def test_a_negative_weight_is_drawn_up_and_a_weight_of_zero_stays(toy):
    """|w|, not w, is in P and in the gradient's direction: the sign error of the published code."""
    training = training_of(toy, gamma=1e-3)
    with torch.no_grad():
        training.parameters["8.weight"][0, :3] = torch.tensor([-0.2, 0.2, 0.0])
    training.hooks.starts = lambda training: [4]
    training.step = 4
    gradient = added(training)["8.weight"][0, :3]
    assert gradient[0] < 0 < gradient[1]
    assert gradient[0] == -gradient[1]
    assert gradient[2] == 0


def test_a_group_the_loss_does_not_hold_is_at_zero_after_one_phase(toy):
    """By the penalty alone, with γ = 1: a filter's norm falls by its layer's mean norm, or to zero."""
    recipe = RECIPE.model_copy(update={"weight_decay": 0, "momentum": 0.0, "epochs": 400})
    training = training_of(toy, "filter", milestones=0, gamma=1, recipe=recipe)
    before = training.hooks.units(training).pool(training.parameters)
    cut = training.hooks.cut(training)
    for _ in range(cut):
        added(training)
        for group in training.optimizer.param_groups:
            group["lr"] = training.learning_rate(training.step)
        training.optimizer.step()
        training.step += 1
    after = training.hooks.units(training).pool(training.parameters)
    for name, norms in before.items():
        expected = (norms - norms.mean()).clamp_min(0)
        assert float((after[name] - expected).abs().max()) < 0.05 * float(norms.mean())


def test_groups_near_zero_do_not_swing_about_it(toy):
    """However strong the penalty, a step never carries a group beyond zero: norms fall all the way."""
    training = training_of(toy, gamma=1e4, recipe=RECIPE.model_copy(update={"momentum": 0.0, "weight_decay": 0}))
    signs = {name: value.detach().sign() for name, value in training.parameters.items()}
    for _ in range(5):
        added(training)
        for group in training.optimizer.param_groups:
            group["lr"] = training.learning_rate(training.step)
        training.optimizer.step()
        training.step += 1
    for name, value in training.parameters.items():
        assert bool(((value.sign() == signs[name]) | (value.abs() < 1e-6)).all())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_is_cut_to_the_density_and_stays_cut(toy, structure):
    training = training_of(toy, structure, density=0.5 if structure != "pattern" else 0.3)
    train(training, after_epoch=Training.require_finite)
    assert training.masks
    for name, mask in training.masks.items():
        assert (training.parameters[name][~mask] == 0).all()
    prunable = structured(network(), SHAPE, "irregular").sets
    kept = sum(int(training.parameters[name].count_nonzero()) for name in prunable)
    assert kept <= 0.56 * sum(one.size for one in prunable.values())
    assert training.hooks.factors == {}


def test_the_penalty_leaves_less_for_the_cut_to_break(toy):
    """What the cut takes away of the squared weights, beside magnitude's cut of the same training without penalty."""

    def lost(gamma):
        training = training_of(toy, "channel", gamma=gamma, recipe=RECIPE.model_copy(update={"epochs": 40}))
        cut, set_masks = training.hooks.cut(training), training.set_masks
        seen = []

        def measured(masks):
            before = sum(float(training.parameters[name].detach().square().sum()) for name in masks)
            set_masks(masks)
            seen.append(1 - sum(float(training.parameters[name].detach().square().sum()) for name in masks) / before)

        training.set_masks = measured
        train(training, after_epoch=lambda training: None)
        assert training.step > cut
        return seen[0]

    assert lost(1.0) < 0.5 * lost(1e-6)


def test_emptied_channels_are_gone_from_what_ships(toy):
    training = training_of(toy, "channel", recipe=RECIPE.model_copy(update={"epochs": 10}))
    train(training, after_epoch=lambda training: None)
    module = training.module.eval()
    smaller = shrink(module, SHAPE)
    assert sum(p.numel() for p in smaller.parameters()) < 0.6 * sum(p.numel() for p in module.parameters())
    x, _ = images(seed=3)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("structure", ["irregular", "channel"])
def test_a_training_cut_off_between_milestones_ends_with_the_same_bits(toy, tmp_path, structure):
    known = toy.samples(20, 0)
    context = Context(0.5, 0, 3, SHAPE, known, known, known, structure=structure)

    def hooks():
        return Reweighted(ReweightedOptions(prune_at=0.8), context)

    def run(folder, hooks):
        module = network()
        files = {"metrics": folder / "metrics.jsonl", "checkpoints": folder / "checkpoints"}
        run_training(module, images(), images(seed=1), hooks, RECIPE, 0, **files)
        return module.state_dict()

    whole = run(tmp_path / "whole", hooks())
    with pytest.raises(toy.CutOff):
        run(tmp_path / "cut", toy.cut_off(hooks(), 13))
    resumed = run(tmp_path / "cut", hooks())
    toy.assert_same_weights(whole, resumed)


def test_networks_trained_in_one_stack_have_the_weights_each_has_alone(toy):
    known = toy.samples(60, 0)
    recipe = MethodRecipe(name="reweighted", density=0.3)
    make = [make_method(recipe, Context(0.3, seed, 3, (10,), known, known, known)) for seed in (0, 1, 0, 1)]
    rows = [torch.arange(0, 60).numpy(), torch.arange(20, 80).numpy()]
    pool = toy.tensors(toy.samples(80, 0))

    def networks():
        return [nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3)) for _ in range(2)]

    torch.manual_seed(0)
    together, alone = networks(), networks()
    for one, other in zip(together, alone, strict=True):
        other.load_state_dict(one.state_dict())
    train_many(together, pool, rows, make[:2], RECIPE, [0, 1], processes=1)
    for k in range(2):
        train_many([alone[k]], pool, [rows[k]], [make[2 + k]], RECIPE, [k], processes=1)
        for one, other in zip(together[k].parameters(), alone[k].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_density_that_channels_cannot_have_fails_before_the_first_step(toy):
    training = training_of(toy, "channel", density=0.001)
    with pytest.raises(UserError, match="this model keeps at least") as caught:
        train(training, after_epoch=lambda training: None)
    assert "\n" not in str(caught.value)
    assert training.step == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("gamma", 0, "greater than 0"), ("eps", -1, "greater than 0"), ("prune_at", 1, "less than 1"), ("rho", 1, "rho")],
)
def test_an_option_that_cannot_be_is_one_line(toy, option, value, said):
    with pytest.raises(UserError, match=said) as caught:
        make_method(MethodRecipe(name="reweighted", density=0.2, options={option: value}), toy.context())
    assert "\n" not in str(caught.value)
