"""The adversarial game: its gain by hand and by theorem, attackers fair to both sides, and the same bits again."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.methods.adversary import gain, member_gain
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.group import train_group
from safedeploy.training.loop import Training, train
from safedeploy.training.many import Job

OFTEN = {"first_steps": 5, "attacker_steps": 1}


def game(toy, attacker="black", method="dense", seed=0, context=None, **options):
    """The hooks of `method` beside the game, with few attacker steps."""
    often = {"interval": 5, "gradient_steps": 2} if method in ("set", "safecompress") else {}
    if method == "safecompress":
        often |= {"test_every": 2, "candidate_steps": 3, "first_steps": 10, "attacker_steps": 4}
    density = 1.0 if method == "dense" else 0.2
    defences = {"adv-reg": {"attacker": attacker} | OFTEN | options}
    recipe = MethodRecipe(name=method, density=density, options=often, defences=defences)
    return make_method(recipe, context or toy.context(density, seed))


def under_way(toy, hooks, module=None, recipe=None, log=lambda event: None):
    """A training that `hooks` have begun, of 100 members."""
    recipe = recipe or toy.recipe
    x, y = toy.tensors(toy.samples(100, 0))
    training = Training(module or toy.network(), x, y, recipe, 0, make_accelerator("cpu", "float32"), hooks, log)
    hooks.begin(training)
    hooks.attach(training)
    training.module.train()
    return training


def the_game(hooks):
    return hooks.parts["adv-reg"]


def test_an_attacker_that_cannot_tell_gains_minus_two_log_two():
    undecided = torch.zeros(7)
    assert gain(undecided, undecided) == pytest.approx(-2 * math.log(2))
    assert member_gain(undecided, "linear") == 0


def test_the_gain_by_hand():
    """h = ¾ and ½ on members, ¼ on non-members: ½ log ¾ + ½ log ½ + log ¾."""
    members, nonmembers = torch.tensor([math.log(3), 0.0]), torch.tensor([-math.log(3)])
    members_half = 0.5 * (math.log(0.75) + math.log(0.5))
    assert gain(members, nonmembers) == pytest.approx(members_half + math.log(0.75))
    assert member_gain(members, "log") == pytest.approx(members_half)
    assert member_gain(members, "linear") == pytest.approx(0.625 - 0.5)


def test_the_gain_is_twice_the_negative_binary_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    members, nonmembers = torch.randn(2, 20, generator=generator)
    target = torch.cat([torch.ones(20), torch.zeros(20)])
    loss = functional.binary_cross_entropy_with_logits(torch.cat([members, nonmembers]), target)
    torch.testing.assert_close(gain(members, nonmembers), -2 * loss)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_attacker_gains_more_than_the_odds(counts, seed):
    """The optimum is h = p / (p + p') with gain 2 · Jensen-Shannon − 2 log 2 (Goodfellow et al. 2014, theorem 1)."""
    inside, outside = (torch.tensor(side, dtype=torch.float64) for side in zip(*counts, strict=True))
    p, q = inside / inside.sum(), outside / outside.sum()

    def gained(scores):
        each = (torch.repeat_interleave(scores, side.long()) for side in (inside, outside))
        return float(gain(*each))

    middle = 0.5 * (p + q)
    divergence = 0.5 * float((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum())
    best = gained((p / q).log())
    assert best == pytest.approx(2 * divergence - 2 * math.log(2))
    other = (p / q).log() + torch.randn(len(p), generator=torch.Generator().manual_seed(seed)).double()
    assert gained(other) <= best + 1e-9


def test_with_weight_a_tenth_the_loss_is_that_of_safecompress(toy):
    """Cross-entropy − 0.1 · BCE(attacker(member), 1), and the attacker is not taught by it."""
    hooks = game(toy, weight=0.1, start_epoch=0)
    training = under_way(toy, hooks)
    training.one_step()
    hooks.after_step(training)
    x, y = training.batch(training.step)
    logits = training.module(x)
    network = the_game(hooks)._attackers["black"].network
    scores = network(logits.detach(), y)
    expected = -0.1 * functional.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
    term = hooks.loss_term(logits, y, training)
    torch.testing.assert_close(term, expected)
    term.backward()
    assert training.module[0].weight.grad.abs().max() > 0
    assert all(parameter.grad is None or not parameter.requires_grad for parameter in network.parameters())


def test_the_white_attacker_looks_at_the_same_forward_pass(toy):
    """Its penultimate features are the last layer's input, dropout included, and the gradient goes through them."""
    hooks = game(toy, "white", start_epoch=0)
    training = under_way(toy, hooks)
    training.one_step()
    hooks.after_step(training)
    x, y = training.batch(training.step)
    torch.manual_seed(5)
    features = training.module[:5](x).detach().requires_grad_()
    torch.manual_seed(5)
    logits = training.module(x)
    term = hooks.loss_term(logits, y, training)
    network = the_game(hooks)._attackers["white"].network
    by_hand = member_gain(network(training.module[5](features), y, features), "log")
    torch.testing.assert_close(term, by_hand)
    found = torch.autograd.grad(term, training.module[5].weight, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.autograd.grad(by_hand, training.module[5].weight, retain_graph=True)[0])
    through = torch.autograd.grad(term, training.module[3].bias)[0]
    step = torch.autograd.grad(by_hand, features)[0]
    alive = (features > 0).float()
    torch.testing.assert_close(through, (step * alive).sum(0))


def test_both_count_the_sum(toy):
    hooks = game(toy, "both", start_epoch=0)
    training = under_way(toy, hooks)
    training.one_step()
    hooks.after_step(training)
    x, y = training.batch(training.step)
    logits = training.module(x)
    played = the_game(hooks)
    penultimate = played._penultimate
    attackers = {name: played._attackers[name].network for name in ("black", "white")}
    wanted = member_gain(attackers["black"](logits, y), "log")
    wanted = wanted + member_gain(attackers["white"](logits, y, penultimate), "log")
    torch.testing.assert_close(hooks.loss_term(logits, y, training), wanted)


def test_the_attackers_step_changes_nothing_of_the_model(toy):
    """Neither weights, running statistics, modes and gradients, nor the global random state."""
    module = nn.Sequential(nn.Linear(10, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 3))
    hooks = game(toy, "both", start_epoch=0)
    training = under_way(toy, hooks, module)
    training.one_step()
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    hooks.after_step(training)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(a, b.grad) for a, b in zip(gradients, module.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(part.training for part in module.modules())


class Watched(nn.Module):
    """Keeps the batches that reach it in evaluation mode, which are the attackers'."""

    def __init__(self, classes, pixels):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))
        self.seen = []

    def forward(self, x):
        if not self.training:
            self.seen.append(x)
        return self.body(x)


def images(count, seed):
    """One fixed random image shifted in brightness, each in its own class order: any crop or flip can be seen."""
    rng = np.random.default_rng(seed)
    pattern = np.random.default_rng(7).normal(size=(1, 1, 16, 16))
    x = (pattern + 0.01 * rng.normal(size=(count, 1, 1, 1))).astype(np.float32)
    return Samples(x, rng.integers(3, size=count))


def test_members_and_nonmembers_reach_the_attackers_alike():
    """Both are cropped and flipped: a members' half of moved images beside one of clean ones would tell them apart."""
    recipe = TrainingRecipe(epochs=2, batch_size=50, device="cpu", augment="crop-flip", checkpoint_seconds=0)
    context = Context(1.0, 0, 3, (1, 16, 16), images(200, 0), images(200, 1), images(50, 2), training=recipe)
    defences = {"adv-reg": {"start_epoch": 0, "first_steps": 20}}
    hooks = make_method(MethodRecipe(name="dense", density=1, defences=defences), context)
    module, members = Watched(3, 256), images(200, 3)
    x, y = torch.from_numpy(members.x), torch.from_numpy(members.y)
    training = Training(module.train(), x, y, recipe, 0, make_accelerator("cpu", "float32"), hooks, lambda event: None)
    train(training, after_epoch=lambda training: None)
    assert len(module.seen) > 20
    clean = torch.from_numpy(context.members.x[0] - context.members.x[0].mean())

    def moved(half):
        return float(((half - half.mean((1, 2, 3), keepdim=True) - clean).abs().amax((1, 2, 3)) > 0.1).float().mean())

    halves = [torch.cat(side) for side in zip(*(batch.chunk(2) for batch in module.seen), strict=True)]
    shares = [moved(half) for half in halves]
    assert all(0.9 < share < 1 for share in shares)  # one of 2 · 5 · 5 draws leaves an image as it is
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def mean_pull(members, nonmembers, steps=100):
    """How strongly, on average, the game moves the true class's logit of fresh members, and the attacker's accuracy.

    members, nonmembers: deviation and centre of their logits, which an identity hands on.
    """
    count, classes = 4000, 3

    def side(centre, seed):
        rng = np.random.default_rng(seed)
        y = rng.integers(classes, size=count)
        x = rng.normal(size=(count, classes)) + centre * np.eye(classes)[y]
        return Samples(x.astype(np.float32), y.astype(np.int64))

    recipe = TrainingRecipe(epochs=1, batch_size=100, device="cpu")
    context = Context(1.0, 0, classes, (classes,), side(members, 0), side(nonmembers, 1), side(0, 2), training=recipe)
    defences = {"adv-reg": {"start_epoch": 0, "first_steps": steps}}
    hooks = make_method(MethodRecipe(name="dense", density=1, defences=defences), context)
    events = []
    part = side(members, 3)
    module = nn.Linear(classes, classes)
    module.load_state_dict({"weight": torch.eye(classes), "bias": torch.zeros(classes)})
    x, y = torch.from_numpy(part.x), torch.from_numpy(part.y)
    training = Training(module, x, y, recipe, 0, make_accelerator("cpu", "float32"), hooks, events.append)
    training.step = 1
    hooks.after_step(training)
    hooks.after_epoch(training)
    logits = torch.from_numpy(side(members, 4).x).requires_grad_()
    labels = torch.from_numpy(side(members, 4).y)
    pull = torch.autograd.grad(hooks.loss_term(logits, labels, training), logits)[0] * count
    return float(pull[torch.arange(count), labels].mean()), events[0]["attack_accuracy"]["black"]


def test_samples_that_cannot_be_told_apart_do_not_move_the_model():
    same, blind = mean_pull(1.0, 1.0)
    apart, seeing = mean_pull(3.0, 0.0)
    assert blind == pytest.approx(0.5, abs=0.03)
    assert seeing > 0.85
    assert apart > 0.1  # descent lowers the logit of the true class
    assert abs(same) < 0.1 * apart


@pytest.mark.parametrize(
    ("method", "attacker", "cut"),
    [("dense", "black", 21), ("dense", "both", 9), ("set", "black", 17), ("safecompress", "white", 21)],
)
def test_a_resumed_game_ends_with_the_same_bits(toy, tmp_path, method, attacker, cut):
    recipe = toy.recipe.model_copy(update={"epochs": 3})
    whole = toy.train(tmp_path / "whole", game(toy, attacker, method), recipe)
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(game(toy, attacker, method), cut), recipe)
    resumed = toy.train(tmp_path / "cut", game(toy, attacker, method), recipe)
    toy.assert_same_bits(whole, resumed)
    assert [event["epoch"] for event in whole.events if event["event"] == "game"] == [1, 2, 3]


def test_the_game_changes_the_model_and_not_before_it_begins(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"epochs": 2})
    plain = toy.train(tmp_path / "plain", toy.method("dense"), recipe)
    late = toy.train(tmp_path / "late", game(toy, start_epoch=2), recipe)
    early = toy.train(tmp_path / "early", game(toy, start_epoch=1), recipe)
    assert all(torch.equal(plain.weights[n], late.weights[n]) for n in plain.weights)
    assert not torch.equal(plain.weights["0.weight"], early.weights["0.weight"])


def test_attackers_follow_every_step_that_a_method_takes(toy, tmp_path):
    """SafeCompress' branches take 3 steps between two calls: none is left out."""
    ascents = []
    hooks = game(toy, method="safecompress", attacker_steps=2, start_epoch=0)
    played = the_game(hooks)
    ascend = played._ascend
    played._ascend = lambda training, number: (ascents.append(training.step), ascend(training, number))
    made = toy.train(tmp_path, hooks, toy.recipe.model_copy(update={"epochs": 3}))
    assert len(ascents) == 5 + 2 * (made.training.total_steps - ascents[0])


def test_models_in_a_stack_play_the_game_they_play_alone(toy):
    x, y = toy.tensors(toy.samples(300, 20))
    rows = [np.random.default_rng(k).permutation(300)[:100] for k in range(3)]
    recipe = toy.recipe.model_copy(update={"epochs": 3})

    def jobs():
        modules = [nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 3)) for _ in rows]
        for k, module in enumerate(modules):
            generator = torch.Generator().manual_seed(k)
            for parameter in module.parameters():
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
        return [Job(m, r, game(toy, seed=k), k) for k, (m, r) in enumerate(zip(modules, rows, strict=True))]

    together, alone = jobs(), jobs()
    train_group(together, (x, y), recipe, lambda steps: None)
    for job in alone:
        train_group([job], (x, y), recipe, lambda steps: None)
    for a, b in zip(together, alone, strict=True):
        for name, value in b.module.state_dict().items():
            torch.testing.assert_close(a.module.state_dict()[name], value, rtol=0, atol=2e-4)


def test_a_game_with_a_white_attacker_says_why_it_is_alone(toy):
    assert game(toy).alone is None
    assert game(toy, "both").alone == "its attacker looks inside the model"


def test_the_model_can_be_copied_once_the_game_is_over(toy, tmp_path):
    made = toy.train(tmp_path, game(toy, "white"))
    assert not any(layer._forward_pre_hooks for layer in made.module.modules())


def loss_advantage(toy, module):
    """Balanced accuracy above chance of the best cut on the loss, members against others."""
    losses = []
    for part in (toy.samples(100, 0), toy.samples(1000, 5)):
        x, y = toy.tensors(part)
        with torch.no_grad():
            losses.append(functional.cross_entropy(module.eval()(x), y, reduction="none"))
    cuts = torch.cat(losses)
    return max(float((losses[0] <= cut).float().mean() - (losses[1] <= cut).float().mean()) / 2 for cut in cuts)


def test_the_game_lowers_what_members_losses_give_away(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"epochs": 20})
    plain = toy.train(tmp_path / "plain", toy.method("dense"), recipe)
    played = toy.train(tmp_path / "played", game(toy, weight=3.0, attacker_steps=2, first_steps=50), recipe)
    assert loss_advantage(toy, played.module) < loss_advantage(toy, plain.module) - 0.05


@pytest.mark.parametrize(
    "options", [{"weight": 0}, {"gain": "sum"}, {"attacker": "grey"}, {"attacker_steps": 0}, {"start_epoch": -1}]
)
def test_an_option_out_of_range_is_named(toy, options):
    with pytest.raises(UserError, match=f"--defence adv-reg: {next(iter(options))}: ") as caught:
        game(toy, **({"attacker": "black"} | options))
    assert "\n" not in str(caught.value)


def test_a_game_that_never_begins_is_said_before_anything_is_trained(toy):
    with pytest.raises(UserError, match=r"start_epoch 30: the game never begins in 30 epochs; choose 29 or less"):
        game(toy, start_epoch=30).check(toy.network())


def test_a_model_that_is_closed_to_the_white_attacker_is_named_before_anything_is_trained(toy):
    closed = nn.Sequential(toy.network(), nn.Softmax(1))
    with pytest.raises(UserError, match=r"no white-box attacker can play: .*; use attacker=black"):
        game(toy, "both").check(closed)
    game(toy, "both").check(toy.network())
    game(toy, "black").check(closed)
