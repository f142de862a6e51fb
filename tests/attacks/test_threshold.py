"""Threshold attacks: the cut comes from what the attacker knows; one a class beats one for all where classes differ."""

import numpy as np
import pytest

from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import ATTACKS
from safedeploy.data.samples import Samples
from safedeploy.roc import auc

THRESHOLDS = [attack for attack in ATTACKS if attack.function.split(":")[0].endswith("threshold")]


def named(name):
    return next(attack for attack in ATTACKS if attack.name == name)


def balanced_accuracy(scores, count):
    flagged = scores.values >= scores.threshold
    return 0.5 * (flagged[:count].mean() + 1 - flagged[count:].mean())


def test_there_are_ten_threshold_attacks_and_none_needs_torch_or_a_white_box():
    assert len(THRESHOLDS) == 10
    assert {(attack.access, attack.extra) for attack in THRESHOLDS} == {("black", None)}


@pytest.mark.parametrize("attack", THRESHOLDS, ids=lambda attack: attack.name)
def test_a_memorising_artifact_is_caught(made, attack):
    knowledge, members, nonmembers = made.quarters(200)
    artifact = made.memoriser(knowledge.members, members)
    scores = attack.score(artifact, knowledge, made.together(members, nonmembers))
    assert auc(scores.values[:200], scores.values[200:]) > 0.98
    assert balanced_accuracy(scores, 200) > 0.97


@pytest.mark.parametrize("attack", THRESHOLDS, ids=lambda attack: attack.name)
def test_an_artifact_without_memory_gives_nothing_away(made, attack):
    found = []
    for seed in range(5):
        knowledge, members, nonmembers = made.quarters(400, seed)
        scores = attack.score(made.honest(), knowledge, made.together(members, nonmembers))
        found.append(auc(scores.values[:400], scores.values[400:]))
    assert abs(np.mean(found) - 0.5) < 0.03  # three standard errors of five times 400 + 400


def test_a_cut_a_class_beats_one_cut_where_classes_differ(made):
    """Class 0 is easy, even for non-members; class 1 is hard, even for members: no single cut fits both."""
    rng = np.random.default_rng(0)

    def side(member):
        y = np.arange(400) % 2
        confidence = np.where(y == 0, 8.0, 2.0) + (1.5 if member else 0.0) + rng.normal(scale=0.3, size=400)
        return Samples(np.stack([confidence, y], axis=1).astype(np.float32), y)

    def answer(x):
        return np.where(x[:, 1:2] == 0, np.stack([x[:, 0], 0 * x[:, 0]], 1), np.stack([0 * x[:, 0], x[:, 0]], 1))

    artifact = made.Function(answer, classes=2, columns=2)
    knowledge = Knowledge(side(True), side(False))
    targets = made.together(side(True), side(False))
    one, by_class = (named(name).score(artifact, knowledge, targets) for name in ("loss", "loss-by-class"))
    assert balanced_accuracy(one, 400) < 0.8
    assert balanced_accuracy(by_class, 400) > 0.97
    assert auc(by_class.values[:400], by_class.values[400:]) > auc(one.values[:400], one.values[400:]) + 0.1


def test_the_cut_is_the_best_on_the_known_samples_and_looks_at_no_target(made):
    knowledge, members, nonmembers = made.quarters(100)
    artifact = made.memoriser(knowledge.members)
    first = named("loss").score(artifact, knowledge, members)
    second = named("loss").score(artifact, knowledge, nonmembers)
    assert first.threshold == second.threshold
    known = named("loss").score(artifact, knowledge, made.together(knowledge.members, knowledge.nonmembers))
    assert balanced_accuracy(known, 100) == 1.0


def test_a_class_of_which_little_is_known_keeps_the_common_cut(made):
    members = made.samples(100, 0)
    few = Knowledge(made.samples(36, 1), made.samples(36, 2))  # nine a class
    artifact = made.memoriser(few.members)
    one, by_class = (named(name).score(artifact, few, members) for name in ("loss", "loss-by-class"))
    np.testing.assert_allclose(by_class.values - by_class.threshold, one.values - one.threshold)


@pytest.mark.parametrize("attack", THRESHOLDS, ids=lambda attack: attack.name)
def test_scores_are_one_a_target_and_the_same_twice(made, attack):
    knowledge, members, _ = made.quarters(60)
    artifact = made.memoriser(knowledge.members)
    first, again = (attack.score(artifact, knowledge, members) for _ in range(2))
    assert first.values.shape == (60,)
    np.testing.assert_array_equal(first.values, again.values)


@pytest.mark.parametrize("attack", THRESHOLDS, ids=lambda attack: attack.name)
def test_an_artifact_that_remembers_is_scored_as_one_that_does_not(made, attack):
    """Also after the caller has written into the scores it got: what is kept is not what is handed out."""
    knowledge, members, nonmembers = made.quarters(100)
    artifact = made.memoriser(knowledge.members, members)
    targets, kept = made.together(members, nonmembers), remember(artifact)
    wanted = attack.score(artifact, knowledge, targets)
    attack.score(kept, knowledge, targets).values[:] = 0
    found = attack.score(kept, knowledge, targets)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.threshold == wanted.threshold
