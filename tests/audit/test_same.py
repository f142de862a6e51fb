"""A/A: the share of alarms among halves of one set, for scores of every shape."""

import numpy as np
import pytest
from scipy import stats

from safedeploy import roc
from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit.same import SPLITS, same_control
from safedeploy.audit.same import _areas as areas


def audit_of(*rows):
    return {Attack(f"attack {n}", "black", "no:where"): Scores(np.asarray(row), 0.0) for n, row in enumerate(rows)}


def test_areas_of_many_splits_are_those_of_one_at_a_time():
    """AUC and DeLong's error of each split as `roc.auc_interval` has them, ties included."""
    draw = np.random.default_rng(0)
    for scores in (draw.normal(size=80), draw.integers(5, size=80).astype(float)):
        inside = np.stack([draw.permutation(80) < 40 for _ in range(6)], axis=1)
        values, errors = areas(scores, inside)
        for split, value, error in zip(inside.T, values, errors, strict=True):
            area, low, _ = roc.auc_interval(scores[split], scores[~split])
            assert value == pytest.approx(area, abs=1e-12)
            logit = np.log(area / (1 - area)) - stats.norm.ppf(0.975) * error / (area * (1 - area))
            assert 1 / (1 + np.exp(-logit)) == pytest.approx(low, abs=1e-9)


@pytest.mark.parametrize("shape", ["normal", "heavy tails", "many ties"])
def test_halves_of_one_set_alarm_at_the_nominal_rate(made, shape):
    exam = made.exam(400)
    draw = np.random.default_rng(1)
    rows = {"normal": draw.normal(size=(6, 800)), "heavy tails": draw.standard_cauchy((6, 800)), "many ties": None}
    scores = draw.integers(3, size=(6, 800)).astype(float) if shape == "many ties" else rows[shape]
    found = same_control(audit_of(*scores), exam)
    assert (found.splits, found.nominal) == (SPLITS, 0.05)
    assert found.calibrated
    assert found.low <= 0.05 <= found.high
    assert found.rate == found.alarms / SPLITS
    assert [attack.name for attack in found.attacks] == [f"attack {n}" for n in range(6)]
    for attack in found.attacks:
        assert attack.auc_low < 0.5 < attack.auc_high
        assert attack.rate <= 0.11


def test_the_members_scores_play_no_part(made):
    exam = made.exam(100)
    row = np.random.default_rng(2).normal(size=200)
    leaking = row + np.repeat([5.0, 0.0], 100)
    assert same_control(audit_of(row), exam) == same_control(audit_of(leaking), exam)


def test_scores_that_all_tie_never_alarm(made):
    found = same_control(audit_of(np.zeros(200)), made.exam(100))
    assert found.alarms == 0
    assert found.calibrated
