"""SafeCompress selects: every candidate is tested and logged, and training goes on from the one of best score."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.methods.safety import Outcome, SafetyTest

FOUR = ["magnitude/gradient", "magnitude/random", "threshold/gradient", "threshold/random"]


def candidates(made):
    """The logged candidates, test by test."""
    lines = [event for event in made.events if event["event"] == "candidate"]
    return [[line for line in lines if line["step"] == step] for step in sorted({line["step"] for line in lines})]


@pytest.mark.parametrize(
    ("attacker", "simulated"), [("black", ["black"]), ("white", ["white"]), ("both", ["black", "white"])]
)
def test_every_candidate_is_logged_with_its_figures(toy, tmp_path, attacker, simulated):
    made = toy.train(tmp_path, toy.method("safecompress", {"attacker": attacker}))
    tests = candidates(made)
    assert [test[0]["step"] for test in tests] == [10, 20, 30, 40]
    for test in tests:
        assert [line["strategy"] for line in test] == FOUR
        assert [line["chosen"] for line in test].count(True) == 1
        for line in test:
            assert set(line) == {"event", "step", "strategy", "task_accuracy", "attack_accuracy", "score", "chosen"}
            assert list(line["attack_accuracy"]) == simulated
            assert 0 <= line["task_accuracy"] <= 1
            assert all(0 <= value <= 1 for value in line["attack_accuracy"].values())


@pytest.mark.parametrize("exponent", [0.0, 1.0, 4.0])
def test_the_chosen_one_has_the_best_task_accuracy_for_its_attack_accuracy(toy, tmp_path, exponent):
    """Against the strongest attacker, and none counts as weaker than a coin toss."""
    made = toy.train(tmp_path, toy.method("safecompress", {"exponent": exponent}))
    for test in candidates(made):
        scores = [line["task_accuracy"] / max(0.5, *line["attack_accuracy"].values()) ** exponent for line in test]
        assert [line["score"] for line in test] == pytest.approx(scores)
        assert test[scores.index(max(scores))]["chosen"]


def test_training_goes_on_from_the_chosen_candidate_s_weights_and_masks(toy, tmp_path):
    hooks = toy.method("safecompress")
    observe, select = hooks.test.observe, hooks._select
    tried, went_on = [], []

    def keep(module):
        tried[-1].append(copy.deepcopy(module.state_dict()))
        return observe(module)

    def watch(training, gradients):
        tried.append([])
        select(training, gradients)
        went_on.append((training.step, copy.deepcopy(training.module.state_dict()), hooks.strategy))
        for name, mask in training.masks.items():
            assert (training.parameters[name][~mask] == 0).all()

    hooks.test.observe, hooks._select = keep, watch
    made = toy.train(tmp_path, hooks)
    tests = candidates(made)
    assert len(tests) == len(went_on) == 4
    for test, weights, (step, kept, strategy) in zip(tests, tried, went_on, strict=True):
        chosen = [line["chosen"] for line in test].index(True)
        assert step == test[0]["step"] + 3  # candidate_steps
        assert all(torch.equal(kept[name], weights[chosen][name]) for name in kept)
        assert "/".join(strategy) == test[chosen]["strategy"]
        assert any(not torch.equal(weights[0][name], weights[3][name]) for name in kept)  # candidates differ


def test_candidates_are_trained_on_the_same_batches(toy, tmp_path):
    hooks = toy.method("safecompress", {"strategies": ["magnitude/gradient", "magnitude/gradient"]})
    observe, seen = hooks.test.observe, []
    hooks.test.observe = lambda module: (seen.append(copy.deepcopy(module.state_dict())), observe(module))[1]
    made = toy.train(tmp_path, hooks)
    for first, second in zip(seen[0::2], seen[1::2], strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    for first, second in candidates(made):
        assert first["score"] == second["score"]
        assert first["chosen"]  # the first of equals
        assert not second["chosen"]


def test_the_strategy_chosen_last_serves_the_updates_between_tests(toy, tmp_path):
    hooks = toy.method("safecompress")
    propose, used = hooks.candidate, []

    def note(training, gradients, strategy):
        used.append((training.step, "/".join(strategy)))
        return propose(training, gradients, strategy)

    hooks.candidate = note
    made = toy.train(tmp_path, hooks)
    chosen = {test[0]["step"]: next(line["strategy"] for line in test if line["chosen"]) for test in candidates(made)}
    between = {step: strategy for step, strategy in used if step % 10 == 5}
    assert between[5] == FOUR[0]
    assert all(between[step + 5] == strategy for step, strategy in chosen.items())


def test_the_score_is_task_over_strongest_attack():
    assert Outcome(0.8, {"black": 0.6, "white": 0.64}).score(1.0) == pytest.approx(0.8 / 0.64)
    assert Outcome(0.8, {"black": 0.6}).score(2.0) == pytest.approx(0.8 / 0.36)
    assert Outcome(0.8, {"black": 0.4}).score(1.0) == pytest.approx(0.8 / 0.5)


# --- the safety test ---


class Memory(nn.Module):
    """Sure of the right answer on what it holds, and of nothing else."""

    def __init__(self, x, y, classes):
        super().__init__()
        self.register_buffer("held", torch.from_numpy(x))
        self.register_buffer("answers", nn.functional.one_hot(torch.from_numpy(y), classes).float())
        self.last = nn.Linear(classes, classes, bias=False)
        nn.init.eye_(self.last.weight)

    def forward(self, x):
        same = (x[:, None] == self.held[None]).all(2).float()
        return self.last(8 * same @ self.answers)


class Constant(nn.Module):
    def __init__(self, columns, classes):
        super().__init__()
        self.last = nn.Linear(columns, classes)
        nn.init.zeros_(self.last.weight)

    def forward(self, x):
        return self.last(x)


@pytest.mark.parametrize("names", [("black",), ("white",), ("black", "white")])
def test_memory_is_caught_and_a_constant_gives_nothing_away(toy, names):
    context = toy.context(members=400)
    for module, low, high in (
        (Memory(context.members.x, context.members.y, toy.classes), 0.97, 1.0),
        (Constant(10, toy.classes), 0.4, 0.6),
    ):
        test = SafetyTest(context, names, 200, 60, 10)
        (outcome,) = test.judge([test.observe(module)])
        assert set(outcome.attack) == set(names)
        assert all(low <= value <= high for value in outcome.attack.values())


def test_attackers_are_judged_on_samples_they_did_not_fit(toy):
    """Memory of the fitting half alone is no leak on the other half."""
    context = toy.context(members=400)
    test = SafetyTest(context, ("black",), 200, 60, 10)
    fit_in, judge_in, fit_out, judge_out = test._known
    rows = [{row.tobytes() for row in part.x} for part in (fit_in, judge_in, fit_out, judge_out)]
    assert [len(part) for part in rows] == [200] * 4
    assert sum(len(part) for part in rows) == len(set.union(*rows))
    assert rows[0] | rows[1] <= {row.tobytes() for row in context.members.x}
    assert rows[2] | rows[3] <= {row.tobytes() for row in context.nonmembers.x}
    (outcome,) = test.judge([test.observe(Memory(fit_in.x, fit_in.y, toy.classes))])
    assert outcome.attack["black"] < 0.6


def test_task_accuracy_is_of_validation_alone(toy):
    context = toy.context()
    test = SafetyTest(context, ("black",), 50, 5, 5)
    observed = test.observe(Memory(context.validation.x, context.validation.y, toy.classes))
    assert observed.task == 1.0
    wrong = Memory(context.validation.x, (context.validation.y + 1) % toy.classes, toy.classes)
    assert test.observe(wrong).task == 0.0


def test_one_candidate_that_leaks_is_told_from_one_that_does_not(toy):
    context = toy.context(members=400)
    test = SafetyTest(context, ("black",), 200, 60, 10)
    modules = [Constant(10, toy.classes), Memory(context.members.x, context.members.y, toy.classes)]
    quiet, leaking = test.judge([test.observe(module) for module in modules])
    assert max(leaking.attack.values()) > max(quiet.attack.values()) + 0.2


def test_a_safety_test_leaves_the_module_and_the_global_random_state_as_they_were(toy):
    module = toy.network().train()
    test = SafetyTest(toy.context(), ("black", "white"), 50, 5, 5)
    weights, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    test.judge([test.observe(module)])
    assert torch.equal(torch.get_rng_state(), random)
    assert module.training
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("names", [("black",), ("white",), ("black", "white")])
def test_attackers_put_back_judge_as_they_would_have(toy, names):
    context, module = toy.context(), toy.network()
    first = SafetyTest(context, names, 50, 5, 5)
    first.judge([first.observe(module)])
    second = SafetyTest(context, names, 50, 5, 5)
    second.restore(copy.deepcopy(first.state()))
    outcomes = [test.judge([test.observe(module)]) for test in (first, second)]
    assert outcomes[0] == outcomes[1]
    fresh = SafetyTest(context, names, 50, 5, 5)
    assert fresh.state()["attackers"] == {}
    networks = [test.attackers[names[0]].state_dict() for test in (first, second)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_attackers_stay_warm(toy):
    """Many small fits add up: later tests catch what a first, short one could not."""
    context = toy.context(members=400)
    module = Memory(context.members.x, context.members.y, toy.classes)
    test = SafetyTest(context, ("black",), 200, 1, 5)
    found = [test.judge([test.observe(module)])[0].attack["black"] for _ in range(8)]
    assert found[-1] > 0.95
    assert found[-1] >= found[0]


def test_a_network_that_diverges_is_told_as_such(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"learning_rate": 1e25})
    with pytest.raises(UserError, match="lower the learning rate"):
        toy.train(tmp_path, toy.method("safecompress", {"test_every": 1}), recipe)


@pytest.mark.parametrize("attacker", ["white", "both"])
def test_a_model_that_no_white_box_attacker_can_open_is_told_before_the_training(toy, attacker):
    class Twisted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, toy.classes)

        def forward(self, x):
            return self.linear(x) ** 2

    hooks = toy.method("safecompress", {"attacker": attacker})
    with pytest.raises(UserError, match="last layer is not linear; use --attacker black"):
        hooks.test.require_open(Twisted())
    toy.method("safecompress", {"attacker": "black"}).test.require_open(Twisted())


def test_sides_of_unequal_size_are_cut_to_halves_of_their_own(toy):
    context = toy.context(nonmembers=toy.samples(30, 5))
    sizes = [len(part.y) for part in SafetyTest(context, ("black",), 500, 1, 1)._known]
    assert sizes == [50, 50, 15, 15]
    assert np.isfinite(SafetyTest(context, ("black",), 500, 1, 1)._x).all()
