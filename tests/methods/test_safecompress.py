"""SafeCompress selects: every candidate is tested and logged, and training goes on from the one of best score."""

import copy

import pytest
import torch

from safedeploy.errors import UserError

FOUR = ["magnitude/gradient", "magnitude/random", "threshold/gradient", "threshold/random"]


def candidates(made):
    """The logged candidates, test by test."""
    lines = [event for event in made.events if event["event"] == "candidate"]
    return [[line for line in lines if line["step"] == step] for step in sorted({line["step"] for line in lines})]


@pytest.mark.parametrize(
    ("attacker", "simulated"),
    [("black", ["neural-black"]), ("white", ["neural-white"]), ("both", ["neural-black", "neural-white"])],
)
def test_every_candidate_is_logged_with_its_figures(toy, tmp_path, attacker, simulated):
    made = toy.train(tmp_path, toy.method("safecompress", {"attacker": attacker}))
    tests = candidates(made)
    assert [test[0]["step"] for test in tests] == [10, 20, 30, 40]
    for test in tests:
        assert [line["strategy"] for line in test] == FOUR
        assert [line["chosen"] for line in test].count(True) == 1
        for line in test:
            assert set(line) == {"event", "step", "strategy", "task_accuracy", "attack_success", "score", "chosen"}
            assert list(line["attack_success"]) == simulated
            assert 0 <= line["task_accuracy"] <= 1
            assert all(0 <= value <= 1 for value in line["attack_success"].values())


@pytest.mark.parametrize("exponent", [0.0, 1.0, 4.0])
def test_the_chosen_one_has_the_best_task_accuracy_for_its_attack_success(toy, tmp_path, exponent):
    """Against the strongest attacker, and none counts as weaker than a coin toss."""
    made = toy.train(tmp_path, toy.method("safecompress", {"exponent": exponent}))
    for test in candidates(made):
        scores = [line["task_accuracy"] / max(0.5, *line["attack_success"].values()) ** exponent for line in test]
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


def test_a_network_that_diverges_is_told_as_such(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"learning_rate": 1e25})
    with pytest.raises(UserError, match="lower the learning rate"):
        toy.train(tmp_path, toy.method("safecompress", {"test_every": 1}), recipe)


@pytest.mark.parametrize(("epochs", "steps"), [(1, [2, 4, 6]), (2, [6, 12]), (6, [20, 40])])
def test_a_short_training_selects_more_than_once(toy, tmp_path, epochs, steps):
    """Ten steps an epoch, masks that change in three quarters of them: 3, 7 and 9 updates, every 2, 2 and 5 steps."""
    hooks = toy.method("safecompress", {"interval": 100, "test_every": 8, "testers": "margin"})
    made = toy.train(tmp_path, hooks, toy.recipe.model_copy(update={"epochs": epochs}))
    assert [test[0]["step"] for test in candidates(made)] == steps
