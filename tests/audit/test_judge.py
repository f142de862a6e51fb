"""Scores of hand-made targets turned into one attack's evidence."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit import judge as judging

ATTACK = Attack("loss", "black", "nowhere:nothing")


def judge(attack, scores, exam, *fprs):
    """One attack's evidence, in an audit of that attack alone."""
    [found], _ = judging.judge({attack: scores}, exam, *fprs)
    return found


@pytest.fixture
def judged(made):
    exam = made.exam(200)
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(1, 1, 200), rng.normal(0, 1, 200)]
    return exam, values, judge(ATTACK, Scores(values, 0.4), exam)


def test_figures_are_scikit_learns(judged):
    _, values, evidence = judged
    truth = np.repeat([1, 0], 200)
    assert evidence.auc == pytest.approx(roc_auc_score(truth, values))
    assert evidence.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, values >= 0.4))
    assert evidence.auc_low < evidence.auc < evidence.auc_high
    assert evidence.balanced_accuracy_low < evidence.balanced_accuracy < evidence.balanced_accuracy_high


def test_balanced_accuracy_is_at_the_attacker_s_own_threshold(made):
    """Perfect scores with a threshold in the wrong place are worth ½, not 1."""
    exam = made.exam(50)
    values = np.r_[np.full(50, 2.0), np.full(50, 1.0)]
    assert judge(ATTACK, Scores(values, 1.5), exam).balanced_accuracy == 1.0
    assert judge(ATTACK, Scores(values, 3.0), exam).balanced_accuracy == 0.5
    assert judge(ATTACK, Scores(values, 2.0), exam).balanced_accuracy == 1.0  # at the threshold is a member


def test_rates_are_those_asked_for(made, judged):
    exam, values, evidence = judged
    assert [rate.fpr for rate in evidence.tpr] == [0.1, 0.01, 0.001, 0.0001]
    asked = judge(ATTACK, Scores(values, 0.4), exam, [0.05]).tpr[0]
    bar = np.sort(values[200:])[-11]  # ten of 200 above it
    assert asked.tpr == pytest.approx((values[:200] > bar).mean())
    assert asked.false_positives == 10


def test_every_class_has_its_own_auc(judged):
    exam, values, evidence = judged
    assert [row.label for row in evidence.per_class] == [f"class {label}" for label in range(4)]
    for label, row in enumerate(evidence.per_class):
        mine = exam.targets.y == label
        truth = np.repeat([1, 0], 200)[mine]
        assert row.auc == pytest.approx(roc_auc_score(truth, values[mine]))
        assert (row.members, row.nonmembers) == (50, 50)
        assert row.auc_low <= row.auc <= row.auc_high
