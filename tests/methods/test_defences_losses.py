"""RelaxLoss, PPB and HAMP: their equations on cases worked by hand, and what they do to a training."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from safedeploy.errors import UserError
from safedeploy.methods.defences import hamp, ppb, relaxloss
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe

# answers (.7, .2, .1) and (.3, .6, .1) to labels 0 and 0: the first right, the second wrong
P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
LABELS = torch.tensor([0, 0])
MEAN = -(math.log(0.7) + math.log(0.3)) / 2  # 0.780


def logits():
    return P.log()


def relaxed(epoch, **options):
    return relaxloss.relaxed(logits(), LABELS, epoch, relaxloss.RelaxLossOptions(**options))


def test_above_alpha_the_loss_is_the_cross_entropy_in_odd_epochs_and_its_excess_in_even_ones():
    assert float(relaxed(1, alpha=0.5)) == pytest.approx(MEAN)
    assert float(relaxed(0, alpha=0.5)) == pytest.approx(MEAN - 0.5)


def gradient(epoch, **options):
    z = logits().requires_grad_()
    relaxloss.relaxed(z, LABELS, epoch, relaxloss.RelaxLossOptions(**options)).backward()
    return z.grad


HOT = functional.one_hot(LABELS, 3)


def test_an_even_epoch_descends_above_alpha_and_climbs_below():
    torch.testing.assert_close(gradient(2, alpha=0.5), (P - HOT) / 2)
    torch.testing.assert_close(gradient(2, alpha=1.0), (HOT - P) / 2)


def test_an_odd_epoch_below_alpha_teaches_the_flattened_answers():
    """(.7, .15, .15) and (.3, .35, .35): the label's probability stays, so its logit has no gradient."""
    soft = torch.tensor([[0.7, 0.15, 0.15], [0.3, 0.35, 0.35]])
    torch.testing.assert_close(relaxloss.flattened(logits(), LABELS, 1.0), soft)
    assert float(relaxed(1, alpha=1.0)) == pytest.approx(float(-(soft * P.log()).sum(1).mean()))
    torch.testing.assert_close(gradient(1, alpha=1.0), (P - soft) / 2)
    assert gradient(3, alpha=1.0)[:, 0].abs().max() < 1e-7


def test_upper_bounds_what_a_flattened_answer_gives_the_label():
    """0.7 becomes 0.4, 0.3 stays: (.4, .3, .3) and (.3, .35, .35)."""
    wanted = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.35, 0.35]])
    torch.testing.assert_close(relaxloss.flattened(logits(), LABELS, 0.4), wanted)


def test_flattening_the_wrong_alone_climbs_with_everybody():
    """As in the authors' code for images: mean of [wrong] · soft cross-entropy − cross-entropy."""
    soft = torch.tensor([0.3, 0.35, 0.35])
    wanted = (float(-(soft * P[1].log()).sum()) + math.log(0.7) + math.log(0.3)) / 2
    assert float(relaxed(1, alpha=1.0, flatten="wrong")) == pytest.approx(wanted)
    assert float(relaxed(1, alpha=0.5, flatten="wrong")) == pytest.approx(MEAN)


@given(st.integers(0, 2**31), st.integers(2, 7), st.floats(0.05, 1))
def test_a_flattened_answer_is_a_distribution_that_gives_the_label_no_more_than_before(seed, classes, upper):
    generator = torch.Generator().manual_seed(seed)
    z, labels = 3 * torch.randn(5, classes, generator=generator), torch.randint(classes, (5,), generator=generator)
    targets = relaxloss.flattened(z, labels, upper)
    kept = targets.gather(1, labels[:, None])[:, 0]
    assert torch.allclose(targets.sum(1), torch.ones(5), atol=1e-5)
    assert (kept <= z.softmax(1).gather(1, labels[:, None])[:, 0] + 1e-6).all()
    assert (kept <= upper + 1e-6).all()


def test_relaxloss_holds_the_loss_where_a_plain_training_goes_on_falling(toy, tmp_path):
    long = toy.recipe.model_copy(update={"epochs": 40})
    plain = toy.train(tmp_path / "plain", toy.method("dense"), long)
    held = toy.train(tmp_path / "held", made(toy, "relaxloss", alpha=0.9), long)

    def loss(run):
        x, y = (
            torch.cat(part) for part in zip(*(toy.tensors(toy.samples(100, seed)) for seed in (0, 10)), strict=True)
        )
        with torch.no_grad():
            return float(functional.cross_entropy(run.module(x), y))

    assert loss(plain) < 0.5
    assert 0.7 < loss(held) < 1.1


def made(toy, name, method="dense", **options):
    density = 1.0 if method == "dense" else 0.2
    return make_method(MethodRecipe(name=method, density=density, defences={name: options}), toy.context(density))


def test_ppb_is_the_divergence_of_the_ranked_answers_of_the_halves():
    """Sorted: p = (.7, .2, .1), q = (.6, .3, .1); KL(q ‖ p) = .6 ln(6/7) + .3 ln(3/2)."""
    wanted = 0.6 * math.log(6 / 7) + 0.3 * math.log(3 / 2)
    assert float(ppb.balance(logits())) == pytest.approx(wanted, rel=1e-5)


def test_ppb_pairs_the_first_half_with_the_second_and_leaves_an_odd_one_out():
    p = torch.tensor([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    pairs = [((0.7, 0.3), (0.8, 0.2)), ((0.6, 0.4), (0.5, 0.5))]
    wanted = np.mean([sum(b * math.log(b / a) for a, b in zip(*pair, strict=True)) for pair in pairs])
    assert float(ppb.balance(p.log())) == pytest.approx(float(wanted), rel=1e-5)


def test_ppb_is_zero_where_answers_differ_by_their_order_alone():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2]])
    assert float(ppb.balance(p.log())) == pytest.approx(0, abs=1e-6)


def test_ppb_weighs_the_term_and_has_none_for_a_single_sample(toy):
    hooks = ppb.make(ppb.PpbOptions(weight=3), None)
    assert float(hooks.loss_term(logits(), LABELS, None)) == pytest.approx(3 * float(ppb.balance(logits())))
    assert hooks.loss_term(logits()[:1], LABELS[:1], None) is None


@pytest.mark.parametrize(("gamma", "classes"), [(0.5, 30), (0.8, 100), (0.95, 100), (0.1, 2), (0.99, 10)])
def test_the_labels_of_hamp_have_the_share_of_entropy_asked_for(gamma, classes):
    p = hamp.label_probability(gamma, classes)
    spread = np.full(classes, (1 - p) / (classes - 1))
    spread[0] = p
    assert -(spread * np.log(spread)).sum() == pytest.approx(gamma * math.log(classes), rel=1e-9)
    assert p > 1 / classes


def test_the_label_of_hamp_on_a_case_worked_by_hand():
    """Two classes at half the greatest entropy, ½ bit: p = 0.8899721 solves h(p) = ½."""
    assert hamp.label_probability(0.5, 2) == pytest.approx(0.8899721, abs=1e-6)


def test_hamp_teaches_soft_labels_and_rewards_entropy(toy, small_training):
    hooks = made(toy, "hamp", gamma=0.6, alpha=0.5).parts["hamp"]
    training = small_training(hooks)
    hooks.begin(training)
    p = hamp.label_probability(0.6, 3)
    torch.testing.assert_close(training.targets.gather(1, training.y[:, None])[:, 0], torch.full((200,), p))
    torch.testing.assert_close(training.targets.sum(1), torch.ones(200))
    entropies = -(P * P.log()).sum(1)
    assert float(hooks.loss_term(logits(), LABELS, training)) == pytest.approx(-0.5 * float(entropies.mean()))
    assert made(toy, "hamp", alpha=0).parts["hamp"].loss_term(logits(), LABELS, training) is None


@pytest.fixture
def small_training(toy):
    from safedeploy.training.device import make_accelerator
    from safedeploy.training.loop import Training

    x, y = (torch.cat(part) for part in zip(*(toy.tensors(toy.samples(100, seed)) for seed in (0, 10)), strict=True))
    accelerator = make_accelerator("cpu", "float32")
    return lambda hooks: Training(toy.network(), x, y, toy.recipe, 0, accelerator, hooks, lambda event: None)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relaxloss", {"alpha": 0}),
        ("relaxloss", {"upper": 1.5}),
        ("relaxloss", {"flatten": "most"}),
        ("ppb", {"weight": -1}),
        ("hamp", {"gamma": 1}),
        ("hamp", {"alpha": -0.1}),
    ],
)
def test_an_option_out_of_range_is_one_line_that_names_it(toy, name, options):
    with pytest.raises(UserError, match=rf"^--defence {name}: {next(iter(options))}: [^\n]*$"):
        made(toy, name, **options)


@pytest.mark.parametrize("first", ["relaxloss", "hamp", "label-smoothing"])
def test_two_that_say_what_is_taught_are_refused(toy, first):
    other = "hamp" if first != "hamp" else "relaxloss"
    recipe = MethodRecipe(name="dense", density=1.0, defences={first: {}, other: {}})
    with pytest.raises(UserError, match="both say what members are taught: keep one of them"):
        make_method(recipe, toy.context(1.0))
