"""Intervals that hold together: between no correction and Bonferroni's, and nominal on correlated attacks."""

import numpy as np
import pytest
from scipy import stats

from safedeploy import roc
from safedeploy.audit.joint import joint_confidence
from safedeploy.delong import covariance, placements


def parts(attacks, alike, seed=0, size=500):
    draw = np.random.default_rng(seed)
    sides = [alike * draw.normal(size=size) + np.sqrt(1 - alike**2) * draw.normal(size=(attacks, size)) for _ in "mn"]
    return list(zip(*sides, strict=True))


def test_one_attack_needs_no_correction_and_copies_none_either():
    assert joint_confidence(parts(1, 0.0), 0) == 0.95
    [one] = parts(1, 0.0)
    assert joint_confidence([one] * 8, 0) == pytest.approx(0.95, abs=0.004)


def test_attacks_with_nothing_in_common_need_sidaks():
    """Independent estimates: each at 0.95 ** (1 / A)."""
    assert joint_confidence(parts(10, 0.0, size=20_000), 0) == pytest.approx(0.95 ** (1 / 10), abs=0.0015)


def test_two_attacks_need_what_the_bivariate_normal_says():
    pair = parts(2, 0.9, size=50_000)
    spread = covariance([inside for inside, _ in pair], [outside for _, outside in pair])
    together = stats.multivariate_normal(cov=[[1, r := spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1])], [r, 1]])
    z = stats.norm.ppf(0.5 + joint_confidence(pair, 0) / 2)
    square = together.cdf([z, z], lower_limit=[-z, -z])
    assert square == pytest.approx(0.95, abs=0.004)


def test_the_answer_lies_between_no_correction_and_bonferronis():
    for attacks in (2, 5, 20):
        needed = [joint_confidence(parts(attacks, alike), 0) for alike in (0.0, 0.7, 0.99)]
        assert 1 - 0.05 / attacks >= needed[0] > needed[1] > needed[2] >= 0.95


def test_a_figure_that_never_varies_is_no_obstacle():
    steady = (np.ones(500), np.zeros(500))
    assert 0.95 < joint_confidence([*parts(3, 0.5), steady], 0) <= 1 - 0.05 / 4


@pytest.mark.slow
def test_intervals_of_correlated_attacks_hold_all_at_once_in_95_of_100_audits():
    """Ten attacks of one loss with noise of their own, members shifted: the true AUC of each is known."""
    shift, noise, size, audits = 0.6, 0.5, 150, 600
    truth = stats.norm.cdf(shift / np.sqrt(2 * (1 + noise**2)))
    corrected = plain = 0
    for seed in range(audits):
        draw = np.random.default_rng(seed)
        loss = np.r_[draw.normal(shift, 1, size), draw.normal(size=size)]
        rows = [loss + noise * draw.normal(size=2 * size) for _ in range(10)]
        confidence = joint_confidence([placements(row[:size], row[size:]) for row in rows], seed)
        for wanted in (confidence, 0.95):
            ends = [roc.auc_interval(row[:size], row[size:], wanted)[1:] for row in rows]
            held = all(low <= truth <= high for low, high in ends)
            corrected += held and wanted == confidence
            plain += held and wanted == 0.95
    assert 0.925 <= corrected / audits <= 0.985
    assert plain / audits < 0.9  # what there is to correct
