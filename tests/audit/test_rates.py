"""The interval of a point of the ROC: coverage where the truth is known, and what few samples can and cannot say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from safedeploy import roc
from safedeploy.audit.rates import curve_interval

thorough = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("shift", "fpr", "members", "nonmembers"),
    [
        (0.0, 0.01, 1000, 1000),
        (1.0, 0.01, 500, 2000),
        (1.0, 0.1, 200, 150),
        (2.0, 0.001, 1000, 3000),
        (0.5, 0.01, 99, 60),
    ],
)
def test_it_covers_the_true_rate_in_95_of_100_experiments(shift, fpr, members, nonmembers):
    truth = stats.norm.sf(stats.norm.isf(fpr) - shift)
    covered = 0
    for seed in range(400):
        draw = np.random.default_rng([seed, members])
        point = roc.tpr_at_fpr(draw.normal(shift, 1, members), draw.normal(size=nonmembers), fpr)
        low, high = curve_interval(point.true_positives, members, nonmembers, fpr, 0.95)
        covered += low <= truth <= high
    assert covered / 400 >= 0.94


def test_clopper_pearson_alone_covers_far_less():
    """Why it is not enough: at the cut that was met, it does not know that the cut was drawn too."""
    truth, fpr, covered = stats.norm.sf(stats.norm.isf(0.001) - 2), 0.001, 0
    for seed in range(400):
        draw = np.random.default_rng(seed)
        point = roc.tpr_at_fpr(draw.normal(2, 1, 1000), draw.normal(size=3000), fpr)
        covered += point.low <= truth <= point.high
    assert covered / 400 < 0.6


@pytest.mark.parametrize("fpr", [0.01, 0.1])
def test_where_the_curve_sags_the_low_end_is_of_what_a_coin_makes_of_it(fpr):
    """Members less spread than non-members, as a loss has them: an attacker who tosses a coin between two cuts does
    better than the curve, and the low end holds for that attacker. The high end misses more than its 2.5 % then.
    """
    rates = np.geomspace(fpr, 1, 2000)
    truth, *above = stats.norm.sf((stats.norm.isf(np.r_[fpr, rates]) - 0.8) / 0.6)
    hull = max(fpr / rate * reached for rate, reached in zip(rates, above, strict=True))
    assert hull > truth
    too_high = too_low = 0
    for seed in range(400):
        draw = np.random.default_rng(seed)
        point = roc.tpr_at_fpr(draw.normal(0.8, 0.6, 1000), draw.normal(size=1000), fpr)
        low, high = curve_interval(point.true_positives, 1000, 1000, fpr, 0.95)
        too_high += low > hull
        too_low += high < truth
    assert too_high / 400 <= 0.025
    assert too_low / 400 <= 0.09


@pytest.mark.parametrize(("hits", "members", "nonmembers", "fpr"), [(30, 200, 300, 0.05), (4, 50, 80, 0.02)])
def test_the_ends_leave_the_asked_share_in_each_tail(hits, members, nonmembers, fpr):
    """Against adaptive quadrature of the same mixture of binomials over the cut's Beta law."""
    allowed = int(fpr * nonmembers)
    cut = stats.beta(allowed + 1, nonmembers - allowed)
    low, high = curve_interval(hits, members, nonmembers, fpr, 0.9)

    def tail(chance):
        parts = [integrate.quad(lambda u: cut.pdf(u) * chance(u), *ends)[0] for ends in ((0, fpr), (fpr, 20 * fpr))]
        return sum(parts)

    as_many = tail(lambda u: stats.binom.sf(hits - 1, members, min(1, low * max(1, u / fpr))))
    as_few = tail(lambda u: stats.binom.cdf(hits, members, high * min(1, u / fpr)))
    assert (as_many, as_few) == pytest.approx((0.05, 0.05), abs=1e-4)


def test_with_endless_nonmembers_it_is_clopper_pearsons():
    for hits in (0, 7, 60, 100):
        ours = curve_interval(hits, 100, 10**9, 0.1, 0.95)
        assert ours == pytest.approx(roc.proportion_interval(hits, 100), abs=2e-4)


def test_few_samples_still_show_a_large_leak():
    """Half of 200 members above all of 200 non-members: at 0.1 % FPR well over one percent, whatever the cut's luck."""
    low, high = curve_interval(100, 200, 200, 0.001, 0.95)
    assert low > 0.02
    assert high == 1.0  # and nothing bounds it from above


@thorough
@given(
    st.integers(1, 400).flatmap(lambda members: st.tuples(st.integers(0, members), st.just(members))),
    st.integers(2, 3000),
    st.sampled_from([0.0001, 0.001, 0.01, 0.1, 0.5]),
)
def test_it_holds_the_rate_and_stays_inside_0_and_1(counts, nonmembers, fpr):
    hits, members = counts
    low, high = curve_interval(hits, members, nonmembers, fpr, 0.95)
    wider = curve_interval(hits, members, nonmembers, fpr, 0.99)
    assert 0 <= wider[0] <= low <= hits / members + 1e-6
    assert hits / members - 1e-6 <= high <= wider[1] <= 1
