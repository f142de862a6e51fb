"""Paired differences between two files: DeLong's test by hand, and coverage on pairs whose difference is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit.attempt import Attempt
from safedeploy.audit.compare import auc_difference, compare, rate_differences

LOSS, MARGIN = (Attack(name, "black", "no:where") for name in ("loss", "margin"))


def pair(seed, members=150, nonmembers=200, gain=0.0, noise=0.4):
    """Scores of two files on the same samples: one loss, seen through noise; the second file leaks `gain` more."""
    draw = np.random.default_rng(seed)
    loss = np.r_[draw.normal(0.8, 1, members), draw.normal(size=nonmembers)]
    first, second = (loss + noise * draw.normal(size=loss.size) for _ in range(2))
    second[:members] += gain
    return first, second


def delong_by_pairs(first, second, members):
    """The test as DeLong et al. 1988 write it, with all pairs of a member and a non-member spelled out."""
    components = []
    for values in (first, second):
        m, n = values[:members, None], values[None, members:]
        wins = (m > n) + 0.5 * (m == n)
        components.append((wins.mean(), wins.mean(1), wins.mean(0)))
    (a, a10, a01), (b, b10, b01) = components
    s10, s01 = np.cov(a10, b10), np.cov(a01, b01)
    spread = s10 / members + s01 / (first.size - members)
    variance = spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]
    z = (b - a) / math.sqrt(variance)
    return b - a, math.sqrt(variance), 2 * stats.norm.sf(abs(z))


@pytest.mark.parametrize("decimals", [1, 9], ids=["many ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_the_difference_of_aucs_is_delongs(seed, decimals):
    first, second = (values.round(decimals) for values in pair(seed, 40, 60))
    value, low, high, p = auc_difference(first, second, 40)
    expected, error, expected_p = delong_by_pairs(first, second, 40)
    assert (value, p) == pytest.approx((expected, expected_p), abs=1e-10)
    assert (low, high) == pytest.approx((expected - 1.959964 * error, expected + 1.959964 * error), abs=1e-6)


def test_a_case_small_enough_to_do_by_hand():
    """Members 3, 1 then 3, 4 over non-members 2, 0 in both: AUC ¾ then 1.

    Of the first, V10 = (1, ½) and V01 = (½, 1); of the second all ones. Variance ⅛ / 2 + ⅛ / 2 = ⅛.
    """
    value, low, high, p = auc_difference(np.array([3.0, 1, 2, 0]), np.array([3.0, 4, 2, 0]), 2)
    half = 1.959964 * math.sqrt(1 / 8)
    assert (value, low, high) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-6)
    assert p == pytest.approx(2 * stats.norm.sf(0.25 / math.sqrt(1 / 8)))


def test_pairing_makes_the_interval_narrower_than_two_separate_ones():
    first, second = pair(0)
    _, low, high, _ = auc_difference(first, second, 150)
    shuffled = np.random.default_rng(1).permutation
    apart = np.r_[shuffled(second[:150]), shuffled(second[150:])]
    _, low_apart, high_apart, _ = auc_difference(first, apart, 150)
    assert high - low < 0.7 * (high_apart - low_apart)


def test_no_difference_is_called_in_five_comparisons_of_a_hundred():
    p = [auc_difference(*pair(seed), 150)[3] for seed in range(500)]
    assert 0.025 <= np.mean(np.array(p) <= 0.05) <= 0.08
    rates = [rate_differences(*pair(seed), 150, [0.1], seed, 200)[0] for seed in range(250)]
    assert np.mean([low > 0 or high < 0 for _, low, high, _ in rates]) <= 0.08
    assert np.mean([p <= 0.05 for *_, p in rates]) <= 0.08


def test_a_file_that_leaks_more_is_told_from_one_that_leaks_less():
    first, second = pair(0, gain=0.8)
    for value, low, high, p in (auc_difference(first, second, 150), *rate_differences(first, second, 150, [0.1], 0)):
        assert 0 < low < value < high
        assert p < 0.01


def test_a_file_against_itself_differs_by_nothing():
    first, _ = pair(0)
    for other in (first, np.exp(first)):
        assert auc_difference(first, other, 150) == (0, 0, 0, 1)
        assert rate_differences(first, other, 150, [0.1, 0.01], 0, 100) == [(0, 0, 0, 1), (0, 0, 0, 1)]


def test_the_bootstrap_is_of_the_same_samples_for_both_files():
    """Against resampling written out: members and non-members drawn again, both files judged on what was drawn."""
    first, second = pair(3, 60, 80)
    value, low, high, _ = rate_differences(first, second, 60, [0.1], 0, 3000)[0]
    draw = np.random.default_rng(9)
    drawn = []
    for _ in range(3000):
        m, n = draw.integers(60, size=60), 60 + draw.integers(80, size=80)
        rates = [(values[m] > np.sort(values[n])[-9]).mean() for values in (first, second)]  # eight of 80 above
        drawn.append(rates[1] - rates[0])
    rates = [(values[:60] > np.sort(values[60:])[-9]).mean() for values in (first, second)]
    assert value == pytest.approx(rates[1] - rates[0])
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.03)


def test_every_attack_that_ran_on_both_files_is_compared(made):
    exam = made.exam(100)
    first, second = pair(0, 100, 100)
    float32 = Attempt({LOSS: Scores(first, 0.0), MARGIN: Scores(first, 0.0)}, [])
    int8 = Attempt({LOSS: Scores(second, 0.0)}, [])
    rows = compare("model.onnx", float32, "model.int8.onnx", int8, exam, [0.1])
    assert [(row.attack, row.figure) for row in rows] == [("loss", "auc"), ("loss", "tpr@0.1")]
    assert {(row.first, row.second) for row in rows} == {("model.onnx", "model.int8.onnx")}
    truth = np.repeat([1, 0], 100)
    area = SimpleNamespace(first=roc_auc_score(truth, first), second=roc_auc_score(truth, second))
    assert (rows[0].first_value, rows[0].second_value) == pytest.approx((area.first, area.second))
    for row in rows:
        assert row.difference == pytest.approx(row.second_value - row.first_value)
        assert row.low <= row.difference <= row.high
    assert compare("a", float32, "b", Attempt({MARGIN: Scores(second, 0.0)}, []), exam, [])[0].attack == "margin"
