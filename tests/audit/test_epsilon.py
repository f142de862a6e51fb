"""Lower bounds on ε: published answers, coverage on mechanisms whose ε is known, and what labels must not decide."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safedeploy.audit.epsilon import SHARES, epsilon_bound, one_run_epsilon, one_run_p, ratio_low

thorough = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("correct", "epsilon"), [(550, 0.094), (600, 0.297), (700, 0.732), (900, 2.021), (1000, 5.782)]
)
def test_one_run_of_a_thousand_canaries_gives_the_published_bounds(correct, epsilon):
    assert one_run_epsilon(correct, 1000, 1000, delta=1e-5) == pytest.approx(epsilon, abs=5e-4)


def test_without_delta_the_p_value_is_the_binomial_tail():
    """ε = 0: each guess is a fair coin."""
    assert one_run_p(60, 100, 1000, 0.0, 0.0) == pytest.approx(stats.binom.sf(59, 100, 0.5))
    right = math.exp(0.7) / (1 + math.exp(0.7))
    assert one_run_p(60, 100, 1000, 0.7, 0.0) == pytest.approx(stats.binom.sf(59, 100, right))


def test_the_p_value_adds_what_the_theorem_says_for_delta():
    """Theorem 5.2 term by term, for 3 of 5 right among 10 at ε = 0.5."""
    right = math.exp(0.5) / (1 + math.exp(0.5))
    chance = [math.comb(5, w) * right**w * (1 - right) ** (5 - w) for w in range(6)]
    tail = sum(chance[3:])
    steepest = max(sum(chance[3 - i : 3]) / i for i in (1, 2, 3))
    assert one_run_p(3, 5, 10, 0.5, 0.01) == pytest.approx(tail + 2 * 10 * 0.01 * steepest)


@thorough
@given(st.integers(1, 300).flatmap(lambda guesses: st.tuples(st.integers(0, guesses), st.just(guesses))))
def test_at_the_bound_the_p_value_is_what_was_asked(counts):
    correct, guesses = counts
    found = one_run_epsilon(correct, guesses, 2 * guesses, delta=1e-6)
    if found > 0:
        assert one_run_p(correct, guesses, 2 * guesses, found, 1e-6) == pytest.approx(0.05, abs=1e-4)
    else:
        assert one_run_p(correct, guesses, 2 * guesses, 0.0, 1e-6) >= 0.05 - 1e-9


@thorough
@given(st.integers(2, 400), st.integers(1, 4))
def test_more_right_guesses_or_a_smaller_delta_never_lower_the_bound(guesses, tenth):
    correct = guesses - guesses * tenth // 10 // 2
    bound = one_run_epsilon(correct, guesses, 1000)
    assert one_run_epsilon(min(guesses, correct + 1), guesses, 1000) >= bound - 1e-5
    assert one_run_epsilon(correct, guesses, 1000, delta=0.0) >= bound - 1e-5


def test_half_right_and_no_guess_at_all_bound_nothing():
    assert one_run_epsilon(500, 1000, 1000) == 0.0
    assert one_run_epsilon(0, 0, 1000) == 0.0


@pytest.mark.parametrize(
    ("hits", "misses", "alarms", "rejections", "ratio"),
    [  # one-sided 95 %, from the R package asbio, ci.prat(method = "bailey")
        (473, 511, 755, 950, 1.01148934),
        (2, 697, 213, 313, 0.00162322),
        (1000, 10, 10, 10000, 613.58766147),
        (0, 511, 755, 950, 0.0),
        (2, 697, 0, 313, 0.18481008),
        (473, 0, 755, 950, 2.15787013),
        (2, 697, 213, 0, 0.00066016),
        (1000, 0, 10, 0, 0.93591485),
    ],
)
def test_baileys_bound_of_a_ratio_is_the_published_one(hits, misses, alarms, rejections, ratio):
    assert ratio_low(hits, hits + misses, alarms, alarms + rejections) == pytest.approx(ratio, abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.5])
def test_the_bound_stays_below_a_known_epsilon_in_95_of_100_runs(epsilon):
    """Randomised response: each member's bit is told right with odds e^ε, so training is exactly ε-private."""
    right = math.exp(epsilon) / (1 + math.exp(epsilon))
    below = 0
    for seed in range(150):
        draw = np.random.default_rng([seed, round(10 * epsilon)])
        inside, outside = ((draw.random(400) < share) + draw.random(400) / 10 for share in (right, 1 - right))
        below += epsilon_bound(inside, outside, 1, seed).low <= epsilon + 1e-9
    assert below / 150 >= 0.95


def test_the_bound_comes_near_a_known_epsilon():
    """Randomised response at ε = 1.5, 20,000 samples."""
    draw = np.random.default_rng(0)
    right = math.exp(1.5) / (1 + math.exp(1.5))
    inside, outside = ((draw.random(10_000) < share) + draw.random(10_000) / 10 for share in (right, 1 - right))
    assert 1.25 < epsilon_bound(inside, outside, 1, 0).low < 1.5


def test_scores_that_all_tie_bound_nothing_whatever_the_order_of_the_samples():
    """Members come first: cut in that order, every guess would be right."""
    found = epsilon_bound(np.zeros(1000), np.zeros(1000), 1, 0)
    assert found.low == 0.0
    assert found.correct < 0.7 * found.guesses


def test_a_memorising_model_shows_nearly_all_that_its_samples_can():
    found = epsilon_bound(np.ones(2000), np.zeros(2000), 1, 0)
    assert found.correct == found.guesses == round(max(SHARES) * 4000)
    assert found.low == found.joint_low == found.most > 4


def test_more_attacks_widen_the_bound_that_holds_for_all():
    draw = np.random.default_rng(1)
    inside, outside = draw.normal(1, 1, 500), draw.normal(0, 1, 500)
    alone, among = (epsilon_bound(inside, outside, attacks, 0) for attacks in (1, 20))
    assert alone.low == among.low
    assert among.joint_low < alone.joint_low == alone.low


def test_sides_of_unequal_size_are_judged_as_a_fair_coin_would():
    """Ten times as many members: calling everyone a member is right 10 times of 11, and shows nothing."""
    draw = np.random.default_rng(2)
    assert epsilon_bound(draw.normal(size=5000), draw.normal(size=500), 1, 0).low == 0.0
