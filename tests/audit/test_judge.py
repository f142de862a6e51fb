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


def test_the_attackers_own_cut_gives_its_advantage(judged):
    """TPR − FPR at 0.4, which the attacker chose: not at the best cut of the samples judged."""
    _, values, evidence = judged
    cut = evidence.own_cut
    hits, alarms = int((values[:200] >= 0.4).sum()), int((values[200:] >= 0.4).sum())
    assert (cut.true_positives, cut.false_positives) == (hits, alarms)
    assert cut.advantage == pytest.approx((hits - alarms) / 200)
    assert cut.advantage == pytest.approx(2 * evidence.balanced_accuracy - 1)
    assert (cut.low, cut.high) == (cut.joint_low, cut.joint_high)  # one attack alone
    assert 1 < cut.ratio_low < hits / alarms


def test_an_attack_alone_needs_no_correction_and_one_among_many_does(made):
    exam = made.exam(200)
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(12, 400))
    rows[:, :200] += 0.5
    attacks = [Attack(f"attack {n}", "black", "nowhere:nothing") for n in range(12)]
    scores = {attack: Scores(row, 0.0) for attack, row in zip(attacks, rows, strict=True)}
    alone = judge(attacks[0], scores[attacks[0]], exam)
    among, null = judging.judge(scores, exam)
    assert (alone.auc_joint_low, alone.auc_joint_high) == (alone.auc_low, alone.auc_high)
    first = among[0]
    assert (first.auc, first.auc_low, first.auc_p) == (alone.auc, alone.auc_low, alone.auc_p)
    assert first.auc_joint_low < first.auc_low < first.auc_high < first.auc_joint_high
    assert first.own_cut.joint_low < first.own_cut.low
    assert first.epsilon.joint_low < first.epsilon.low
    for one, many in zip(alone.tpr, first.tpr, strict=True):
        assert many.joint_low < one.joint_low or one.joint_low == 0
        assert many.joint_high > one.joint_high or one.joint_high == 1
    assert null.attacks == 12
    assert [figure.figure for figure in null.figures] == ["auc", "tpr@0.1", "tpr@0.01", "tpr@0.001", "tpr@0.0001"]
    assert first.auc > null.figures[0].high  # a leak stands out of what chance gives the best of twelve


def test_p_values_tell_a_leak_from_none(judged, made):
    _, _, leaking = judged
    assert leaking.auc_p < 0.01
    assert leaking.tpr[0].p < 0.01
    still = judge(ATTACK, Scores(np.random.default_rng(5).normal(size=400), 0.0), made.exam(200))
    assert still.auc_p > 0.05
    assert still.tpr[1].p > 0.01


def test_evidence_names_whom_it_exposes(judged):
    _, values, evidence = judged
    assert len(evidence.exposed) == 20
    assert evidence.exposed[0].index == int(np.argmax(values[:200]))
    assert evidence.hardest.by == "class-centre"
    assert evidence.hardest.members + evidence.hardest.nonmembers == 40


def test_without_meaningful_inputs_no_sample_is_called_hard(made):
    exam = made.exam(100)
    [found], _ = judging.judge({ATTACK: Scores(np.zeros(200), 0.0)}, exam, inputs=False)
    assert found.hardest is None
