"""ROC figures against scikit-learn, published tables, brute force and simulation."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from safedeploy import roc

thorough = settings(max_examples=60, deadline=None)
few_values = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=40)  # many ties
finite = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30)


def labelled(members, nonmembers):
    return np.repeat([1, 0], [len(members), len(nonmembers)]), np.r_[members, nonmembers]


def balanced_accuracy(members, nonmembers, threshold):
    return 0.5 * ((np.asarray(members) >= threshold).mean() + (np.asarray(nonmembers) < threshold).mean())


# --- AUC ---


@thorough
@given(few_values, few_values)
def test_auc_is_scikit_learns_ties_included(members, nonmembers):
    assert roc.auc(members, nonmembers) == pytest.approx(roc_auc_score(*labelled(members, nonmembers)), abs=1e-12)


@thorough
@given(few_values, few_values)
def test_auc_is_the_share_of_pairs_won_with_ties_half(members, nonmembers):
    m, n = np.array(members)[:, None], np.array(nonmembers)[None, :]
    assert roc.auc(members, nonmembers) == pytest.approx(((m > n) + 0.5 * (m == n)).mean(), abs=1e-12)


@thorough
@given(few_values, few_values)
def test_swapping_the_sides_mirrors_auc(members, nonmembers):
    assert roc.auc(members, nonmembers) == pytest.approx(1 - roc.auc(nonmembers, members), abs=1e-12)


@thorough
@given(few_values, few_values)
def test_figures_depend_on_the_order_of_scores_alone(members, nonmembers):
    def stretched(scores):
        return [math.exp(score) - 7 for score in scores]

    assert roc.auc_interval(members, nonmembers) == roc.auc_interval(stretched(members), stretched(nonmembers))
    for fpr in (0.0, 0.05, 0.3, 1.0):
        plain = roc.tpr_at_fpr(members, nonmembers, fpr)
        assert plain == roc.tpr_at_fpr(stretched(members), stretched(nonmembers), fpr)


@thorough
@given(few_values, few_values)
def test_the_curve_is_scikit_learns(members, nonmembers):
    fpr, tpr, thresholds = roc.roc_curve(members, nonmembers)
    theirs = sklearn_roc_curve(*labelled(members, nonmembers), drop_intermediate=False)
    for ours, reference in zip((fpr, tpr, thresholds), theirs, strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-12)


@thorough
@given(finite, finite)
def test_the_curve_climbs_from_nothing_to_everything(members, nonmembers):
    fpr, tpr, thresholds = roc.roc_curve(members, nonmembers)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert (np.diff(thresholds) < 0).all()
    assert np.trapezoid(tpr, fpr) == pytest.approx(roc.auc(members, nonmembers), abs=1e-9)


# --- DeLong's interval ---


def delong_by_pairs(members, nonmembers):
    """AUC and its variance as DeLong et al. 1988 write it: structural components over all m·n pairs."""
    wins = (members[:, None] > nonmembers[None, :]) + 0.5 * (members[:, None] == nonmembers[None, :])
    v10, v01 = wins.mean(1), wins.mean(0)
    return wins.mean(), v10.var(ddof=1) / len(members) + v01.var(ddof=1) / len(nonmembers)


@pytest.mark.parametrize("decimals", [1, 8], ids=["many ties", "no ties"])
@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_delongs_on_the_logit_scale(seed, decimals):
    rng = np.random.default_rng(seed)
    members, nonmembers = rng.normal(0.7, 1, 60).round(decimals), rng.normal(0, 1, 90).round(decimals)
    value, variance = delong_by_pairs(members, nonmembers)
    half = 1.959963985 * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    expected = [value, *(1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1))]
    assert roc.auc_interval(members, nonmembers) == pytest.approx(expected, abs=1e-8)


def test_the_interval_agrees_with_the_bootstrap():
    rng = np.random.default_rng(3)
    members, nonmembers = rng.normal(0.5, 1, 300), rng.normal(0, 1, 400)
    draws = [roc.auc(rng.choice(members, 300), rng.choice(nonmembers, 400)) for _ in range(1500)]
    _, low, high = roc.auc_interval(members, nonmembers)
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_interval_covers_the_true_auc_in_95_of_100_experiments(shift):
    truth = stats.norm.cdf(shift / math.sqrt(2))
    covered = 0
    for seed in range(600):
        rng = np.random.default_rng([seed, int(10 * shift)])
        _, low, high = roc.auc_interval(rng.normal(shift, 1, 120), rng.normal(0, 1, 120))
        covered += low <= truth <= high
    assert 0.925 <= covered / 600 <= 0.975  # ± 2.8 standard errors of 600 trials


def test_equal_distributions_give_an_auc_of_a_half():
    rng = np.random.default_rng(0)
    value, low, high = roc.auc_interval(rng.normal(size=2000), rng.normal(size=2000))
    assert low < 0.5 < high
    assert abs(value - 0.5) < 0.02


@thorough
@given(few_values, few_values)
def test_the_interval_holds_the_value_and_stays_inside_0_and_1(members, nonmembers):
    value, low, high = roc.auc_interval(members, nonmembers)
    assert 0 <= low <= value <= high <= 1


def test_perfect_separation_of_20_still_leaves_doubt():
    value, low, high = roc.auc_interval(range(100, 120), range(20))
    assert (value, high) == (1, 1)
    assert low == pytest.approx(0.8316, abs=1e-4)  # Clopper-Pearson for 20 of 20: 0.025 ** (1 / 20)


def test_one_member_says_next_to_nothing():
    """One sample has no variance to estimate; what it hides must not be counted as zero."""
    value, low, high = roc.auc_interval([0.7], np.linspace(0, 1, 1000))
    assert value == pytest.approx(0.7, abs=0.01)
    assert high - low > 0.9


def test_scores_that_all_tie_are_chance_and_as_uncertain_as_a_coin():
    value, low, high = roc.auc_interval(np.zeros(50), np.zeros(50))
    assert value == 0.5
    assert (low, high) == pytest.approx((0.3553, 0.6447), abs=1e-4)  # 25 of 50


# --- proportions ---


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # the usual tables for n = 10; Newcombe 1998, table I, method 5
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_intervals_are_the_published_ones(successes, trials, low, high):
    assert roc.proportion_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@thorough
@given(st.integers(1, 60).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_clopper_pearson_ends_leave_two_and_a_half_percent_in_each_tail(counts):
    successes, trials = counts
    low, high = roc.proportion_interval(successes, trials)
    if successes > 0:
        assert stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.025, abs=1e-6)
    if successes < trials:
        assert stats.binom.cdf(successes, trials, high) == pytest.approx(0.025, abs=1e-6)


def test_the_interval_of_a_mean_of_two_proportions_covers_it():
    rng = np.random.default_rng(1)
    for first, second, trials in ((0.5, 0.5, 50), (0.95, 0.2, 80), (0.99, 0.6, 200)):
        covered = 0
        for _ in range(500):
            hits = [(int(rng.binomial(trials, p)), trials) for p in (first, second)]
            _, low, high = roc.mean_of_proportions_interval(*hits)
            covered += low <= 0.5 * (first + second) <= high
        assert covered / 500 >= 0.925


def test_the_interval_of_a_mean_of_two_proportions_by_hand():
    # 8/10 and 3/6: adjusted 9/12 and 4/8; variance of the mean ¼ (0.75·0.25/12 + 0.5·0.5/8)
    value, low, high = roc.mean_of_proportions_interval((8, 10), (3, 6))
    half = 1.959964 * 0.5 * math.sqrt(0.1875 / 12 + 0.25 / 8)
    assert (value, low, high) == pytest.approx((0.65, 0.625 - half, 0.625 + half), abs=1e-6)


# --- TPR at a fixed FPR ---


def test_tpr_at_fpr_by_hand():
    nonmembers = np.arange(100.0)  # 0 … 99
    members = np.r_[np.full(30, 98.5), np.full(20, 97.5), np.full(50, -1.0)]
    at_one = roc.tpr_at_fpr(members, nonmembers, 0.01)  # one false positive: the 99
    assert (at_one.tpr, at_one.true_positives, at_one.false_positives, at_one.realised_fpr) == (0.3, 30, 1, 0.01)
    at_two = roc.tpr_at_fpr(members, nonmembers, 0.02)  # 99 and 98
    assert (at_two.tpr, at_two.false_positives) == (0.5, 2)
    none_allowed = roc.tpr_at_fpr(members, nonmembers, 0.001)  # a tenth of one non-member: none
    assert (none_allowed.tpr, none_allowed.false_positives) == (0.0, 0)


def test_a_tie_with_too_many_nonmembers_counts_for_nobody():
    nonmembers = np.r_[np.full(5, 9.0), np.zeros(95)]
    members = np.r_[np.full(2, 10.0), np.full(8, 9.0)]
    found = roc.tpr_at_fpr(members, nonmembers, 0.04)  # cutting at 9 lets in five of 100
    assert (found.tpr, found.false_positives) == (0.2, 0)
    assert roc.tpr_at_fpr(members, nonmembers, 0.05).tpr == 1.0


def test_scores_that_all_tie_have_no_true_positives_at_one_percent():
    found = roc.tpr_at_fpr(np.zeros(500), np.zeros(500), 0.01)
    assert (found.tpr, found.realised_fpr) == (0, 0)


@thorough
@given(few_values, few_values, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.99]))
def test_tpr_at_fpr_is_the_best_of_the_curve(members, nonmembers, fpr):
    xs, ys, _ = roc.roc_curve(members, nonmembers)
    found = roc.tpr_at_fpr(members, nonmembers, fpr)
    assert found.tpr == pytest.approx(ys[xs <= fpr + 1e-12].max(), abs=1e-12)
    assert found.realised_fpr <= fpr + 1e-12
    assert found.low <= found.tpr <= found.high


@thorough
@given(few_values, few_values)
def test_tpr_grows_with_the_false_positives_allowed(members, nonmembers):
    rates = [roc.tpr_at_fpr(members, nonmembers, fpr).tpr for fpr in (0.0, 0.01, 0.1, 0.3, 0.7, 1.0)]
    assert rates == sorted(rates)
    assert rates[-1] == 1.0


@pytest.mark.parametrize(
    ("samples", "fpr", "low", "high"),
    [(1000, 0.001, 0.0045, 0.0065), (2000, 0.001, 0.0035, 0.0045), (1000, 0.01, 0.014, 0.019)],
)
def test_the_null_band_is_what_equal_scores_give(samples, fpr, low, high):
    """At 0.1 %: about half a percent with 1,000 samples a side, 0.40 % with 2,000."""
    rng = np.random.default_rng(samples)
    allowed = round(fpr * samples)
    rates = []
    for _ in range(4000):
        bar = np.partition(rng.random(samples), samples - allowed - 1)[samples - allowed - 1]
        rates.append((rng.random(samples) > bar).mean())
    null_high = roc.tpr_at_fpr(rng.random(samples), rng.random(samples), fpr).null_high
    assert low <= null_high <= high
    assert np.mean(np.array(rates) <= null_high) >= 0.945  # the simulation's own error: 0.35 %
    assert np.mean(np.array(rates) < null_high) <= 0.955
    if samples == 2000:
        assert np.mean(rates) == pytest.approx(0.0015, abs=0.0001)


@pytest.mark.parametrize(
    ("nonmembers", "fpr", "resolvable"),
    [(4999, 0.001, False), (5000, 0.001, True), (499, 0.01, False), (500, 0.01, True)],
)
def test_five_expected_false_positives_resolve_a_rate(nonmembers, fpr, resolvable):
    assert roc.tpr_at_fpr(np.zeros(10), np.zeros(nonmembers), fpr).resolvable is resolvable


# --- threshold, drawing ---


@thorough
@given(few_values, few_values)
def test_best_threshold_is_the_best_by_brute_force(members, nonmembers):
    candidates = [value + step for value in {*members, *nonmembers} for step in (-0.25, 0.25)]
    best = max(balanced_accuracy(members, nonmembers, candidate) for candidate in candidates)
    found = roc.best_threshold(members, nonmembers)
    assert balanced_accuracy(members, nonmembers, found) == pytest.approx(best, abs=1e-12)


@thorough
@given(finite, finite)
@example([5e-324], [0.0])  # halfway rounds to the lower one
@example([1.5e308], [1.2e308])  # their sum is no float
def test_best_threshold_is_best_between_neighbouring_floats_too(members, nonmembers):
    candidates = [*members, *nonmembers, np.inf]
    best = max(balanced_accuracy(members, nonmembers, candidate) for candidate in candidates)
    found = roc.best_threshold(members, nonmembers)
    assert balanced_accuracy(members, nonmembers, found) == pytest.approx(best, abs=1e-12)


def test_best_threshold_lies_halfway_between_the_scores_it_parts():
    assert roc.best_threshold([4.0, 5.0], [0.0, 2.0]) == 3.0


@thorough
@given(few_values, few_values)
def test_every_point_of_the_thinned_curve_is_on_the_true_one(members, nonmembers):
    thin = roc.thin_curve(members, nonmembers, points=20)
    assert thin.fpr == sorted(thin.fpr)
    assert thin.tpr == sorted(thin.tpr)
    assert (thin.fpr[0], thin.fpr[-1], thin.tpr[-1]) == (0, 1, 1)
    for fpr, tpr in zip(thin.fpr, thin.tpr, strict=True):
        # what is drawn at x is the best rate with at most x false positives; x itself is rounded to 7 places
        nearby = np.clip([fpr - 1e-7, fpr, fpr + 1e-7], 0, 1)
        reached = [roc.tpr_at_fpr(members, nonmembers, float(at)).tpr for at in nearby]
        assert any(tpr == pytest.approx(rate, abs=1e-6) for rate in reached)


def test_the_thinned_curve_is_short_however_many_samples():
    rng = np.random.default_rng(0)
    thin = roc.thin_curve(rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000))
    assert len(thin.fpr) == len(thin.tpr) <= 202
    assert sum(0 < fpr < 0.01 for fpr in thin.fpr) >= 30  # log axes have something to show at the left


@thorough
@given(few_values, few_values)
def test_a_histogram_counts_every_sample_once(members, nonmembers):
    found = roc.score_histogram(members, nonmembers)
    assert sum(found.members) == len(members)
    assert sum(found.nonmembers) == len(nonmembers)
    assert len(found.edges) == len(found.members) + 1 == len(found.nonmembers) + 1
    assert (np.diff(found.edges) > 0).all()


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")]])
def test_no_figure_is_made_of_nothing_or_of_nan(bad):
    with pytest.raises(ValueError, match="scores"):
        roc.auc(bad, [1.0])
    with pytest.raises(ValueError, match="scores"):
        roc.tpr_at_fpr([1.0], bad, 0.1)
