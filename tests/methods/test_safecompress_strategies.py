"""SafeCompress' strategies as a product of rules: what momentum and random-unfired growth remember, and bad input."""

import itertools

import pytest
import torch

from safedeploy.errors import UserError
from safedeploy.methods.registry import make_method
from safedeploy.methods.safecompress import MEMORY
from safedeploy.recipe import MethodRecipe
from safedeploy.sparsity import grow, prune
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.masks import shapes


def test_lists_of_rules_make_their_product(toy):
    hooks = toy.method("safecompress", {"prune": ["taylor", "set"], "grow": ["momentum", "random-unfired"]})
    pairs = [("taylor", "momentum"), ("taylor", "random-unfired"), ("set", "momentum"), ("set", "random-unfired")]
    assert list(hooks.selection.candidates) == pairs
    assert toy.method("safecompress", {"prune": "set", "grow": "random"}).selection.candidates == (("set", "random"),)


def test_all_sixteen_are_tried_with_exact_counts(toy, tmp_path):
    options = {"prune": list(prune.RULES), "grow": list(grow.RULES), "testers": "margin", "test_every": 4}
    hooks = toy.method("safecompress", options)
    propose, seen = hooks.candidate, []

    def keep(training, gradients, strategy):
        masks = propose(training, gradients, strategy)
        seen.append({name: int(mask.sum()) for name, mask in masks.items()})
        return masks

    hooks.candidate = keep
    made = toy.train(tmp_path, hooks)
    lines = [line for line in made.events if line["event"] == "candidate"]
    wanted = ["/".join(pair) for pair in itertools.product(prune.RULES, grow.RULES)]
    assert [line["strategy"] for line in lines] == 2 * wanted
    budgets = erk(shapes(toy.network()), 0.2)
    assert all(counts == budgets for counts in seen)


@pytest.mark.parametrize("pruning", ["magnitude", "taylor"])
def test_momentum_growth_takes_the_largest_running_mean_gradient_of_inactive_weights(toy, tmp_path, pruning):
    """Of every step's dense gradient: what the optimiser's momentum, zero at inactive weights, could not tell."""
    hooks = toy.method("safecompress", {"strategies": f"{pruning}/momentum", "testers": "margin", "test_every": 100})
    after_backward, after_step, mean, before, grown = hooks.after_backward, hooks.after_step, [0], [None], []

    def keep(training):
        gradient = training.parameters["3.weight"].grad.clone()
        mean[0] = MEMORY * mean[0] + (1 - MEMORY) * gradient
        after_backward(training)

    def look(training):
        after_step(training)
        now = training.masks["3.weight"].clone()
        if training.step in (5, 10, 15):
            new, left = now & ~before[0], ~now & ~before[0]
            assert new.any()
            assert mean[0].abs()[new].min() >= mean[0].abs()[left].max()
            grown.append(int(new.sum()))
        before[0] = now

    hooks.after_backward, hooks.after_step = keep, look
    toy.train(tmp_path, hooks)
    assert len(grown) == 3


def test_every_candidate_s_running_mean_goes_its_own_way(toy, tmp_path):
    """Two candidates of one strategy take the same steps, so that the second finds what the first found."""
    options = {"strategies": ["magnitude/momentum", "magnitude/momentum"], "testers": "margin"}
    made = toy.train(tmp_path, toy.method("safecompress", options))
    lines = [line for line in made.events if line["event"] == "candidate"]
    for first, second in zip(lines[0::2], lines[1::2], strict=True):
        assert first["score"] == second["score"]


def test_unfired_growth_tries_what_was_never_active_while_there_is_any(toy, tmp_path):
    hooks = toy.method("safecompress", {"strategies": "set/random-unfired", "testers": "margin", "test_every": 100})
    after_step, ever, before, exhausted = hooks.after_step, [None], [None], []

    def look(training):
        after_step(training)
        now = training.masks["3.weight"].clone()
        if before[0] is not None and not torch.equal(now, before[0]):
            new, never = now & ~before[0], ~ever[0]
            wanted = min(int(new.sum()), int(never.sum()))
            assert int((new & never).sum()) == wanted
            exhausted.append(wanted < int(new.sum()))
        ever[0] = now if ever[0] is None else ever[0] | now
        before[0] = now

    hooks.after_step = look
    toy.train(tmp_path, hooks)
    assert len(exhausted) >= 8
    assert not exhausted[0]


@pytest.mark.parametrize("growing", ["momentum", "random-unfired"])
def test_what_a_growth_remembers_survives_a_resume(toy, tmp_path, growing):
    options = {"prune": ["taylor", "magnitude"], "grow": growing, "testers": "margin", "interval": 7}
    whole = toy.train(tmp_path / "whole", toy.method("safecompress", options))
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(toy.method("safecompress", options), 23))
    resumed = toy.train(tmp_path / "cut", toy.method("safecompress", options))
    toy.assert_same_bits(whole, resumed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategies": ["taylor/nothing"]}, "unknown strategy 'taylor/nothing'"),
        ({"strategies": []}, "at least one strategy"),
        ({"prune": ["tailor"], "grow": "random"}, "unknown prune rule 'tailor'; did you mean 'taylor'"),
        ({"prune": ["taylor"], "grow": "randm"}, "unknown grow rule 'randm'; did you mean 'random'"),
        ({"prune": ["taylor"]}, "prune alone makes no candidates: give grow too"),
        ({"grow": ["random"]}, "grow alone makes no candidates: give prune too"),
        ({"strategies": "set/random", "prune": "set", "grow": "random"}, "give one of them"),
    ],
)
def test_a_faulty_choice_of_strategies_is_one_line(toy, options, said):
    with pytest.raises(UserError, match=said) as error:
        toy.method("safecompress", options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("structure", "density"), [("channel", 0.3), ("filter", 0.3), ("block:1x2", 0.2), ("1:2", 0.5)]
)
def test_every_rule_serves_every_structure(toy, tmp_path, structure, density):
    """Groups of weights are ranked as weights are: whole groups stay or go, and as many as before."""
    often = {"interval": 5, "gradient_steps": 2, "candidate_steps": 2, "testers": "margin"}
    rules = {"prune": ["magnitude", "taylor"], "grow": ["momentum", "random-unfired"]}
    recipe = MethodRecipe(name="safecompress", density=density, structure=structure, options=often | rules)
    hooks = make_method(recipe, toy.context(density, structure=structure))
    propose, seen = hooks.candidate, []

    def keep(training, gradients, strategy):
        masks = propose(training, gradients, strategy)
        seen.append({name: int(kept.sum()) for name, kept in hooks.units.held(masks).items()})
        return masks

    hooks.candidate = keep
    toy.train(tmp_path, hooks)
    assert len(seen) >= 8
    assert all(counts == seen[0] for counts in seen)
