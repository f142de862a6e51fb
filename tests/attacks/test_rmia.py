"""RMIA: hand-worked ratios, scores that do not tie, `a` from the references alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_models import halves, phis, world
from scipy.special import expit, logit

from safedeploy.attacks.membership import rmia
from safedeploy.attacks.references import Answers
from safedeploy.roc import auc, tpr_at_fpr

MEMBER = np.array([[1, 0], [0, 1]], dtype=bool)
P = np.array([[0.9, 0.2], [0.5, 0.6]])  # with: .9, .6; without: .5, .2


def two(p=P):
    return Answers(logit(p)[:, :, None], MEMBER)


def random_answers(count, samples, seed):
    rng = np.random.default_rng(seed)
    member = halves(count, samples, rng)
    make = phis(member, 2.0, rng)
    return make(np.zeros(samples))[:, None], Answers(make(member)[:, :, None], member)


def test_online_is_p_over_the_mean_of_the_references():
    phi = logit(np.array([[0.8], [0.3]]))
    found = rmia.ratio(phi, rmia.mean_probability(two()))
    np.testing.assert_allclose(np.exp(found), [0.8 / 0.7, 0.3 / 0.4])


def test_offline_corrects_the_mean_of_those_without_the_sample():
    expected = (1.3 * np.array([0.5, 0.2]) + 0.7) / 2
    np.testing.assert_allclose(np.exp(rmia.corrected_probability(two(), 0.3))[:, 0], expected)
    np.testing.assert_allclose(np.exp(rmia.corrected_probability(two(), 1.0))[:, 0], [0.5, 0.2])


def test_a_is_the_slope_of_p_with_on_p_without():
    """1 − p_in = a (1 − p_out): here .1 = a .5 and .4 = a .8, so a = (.05 + .32) / (.25 + .64)."""
    assert rmia.slope(two()) == pytest.approx(0.37 / 0.89)
    without = np.array([[0.5, 0.4], [0.5, 0.4]])
    exact = np.where(MEMBER, 0.4 * without + 0.6, without)
    assert rmia.slope(two(exact)) == pytest.approx(0.4)


def test_the_number_of_references_a_side_does_not_weigh():
    member = np.array([[1, 1], [1, 1], [0, 0]], dtype=bool)
    p = np.array([[0.8, 0.8], [0.8, 0.8], [0.2, 0.2]])
    np.testing.assert_allclose(np.exp(rmia.mean_probability(Answers(logit(p)[:, :, None], member))), 0.5)


def test_the_score_orders_as_the_papers_count_and_has_no_ties():
    """The share of population samples whose ratio it exceeds γ times is the same order with ties."""
    artifact, knowledge, targets, member = world(6.0, 2, samples=2000)
    scores = rmia.online(artifact, knowledge, targets).values
    population = rmia.online(artifact, knowledge, knowledge.nonmembers).values
    counted = (scores[:, None] - population[None] >= np.log(1.5)).mean(axis=1)
    order = np.argsort(scores)
    assert (np.diff(counted[order]) >= 0).all()
    assert len(np.unique(counted)) < len(np.unique(scores)) / 2
    inside, outside = scores[member], scores[~member]
    assert tpr_at_fpr(inside, outside, 0.01).tpr >= tpr_at_fpr(counted[member], counted[~member], 0.01).tpr


@pytest.mark.parametrize("attack", [rmia.online, rmia.offline])
def test_what_is_remembered_is_caught_and_what_is_not_is_not(attack):
    artifact, knowledge, targets, member = world(8.0, 2)
    scores = attack(artifact, knowledge, targets)
    assert auc(scores.values[member], scores.values[~member]) > 0.8
    found = []
    for seed in range(10):
        artifact, knowledge, targets, member = world(0.0, 4, seed=seed)
        scores = attack(artifact, knowledge, targets)
        found.append(auc(scores.values[member], scores.values[~member]))
    assert abs(np.mean(found) - 0.5) < 0.025  # three standard errors of ten AUCs of 300 + 300


def test_probabilities_that_round_to_zero_or_one_still_rank():
    references = Answers(np.array([[[800.0], [-800.0]], [[700.0], [-900.0]]]), MEMBER)
    low, high = (rmia.ratio(np.full((2, 1), phi), rmia.mean_probability(references)) for phi in (-850.0, -750.0))
    assert np.isfinite(low).all()
    assert (high > low).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 5), st.sampled_from([2, 4, 6]))
def test_the_score_grows_with_phi_and_ignores_the_references_order(seed, step, count):
    phi, references = random_answers(count, 12, seed)
    order = np.random.default_rng(seed).permutation(count)
    turned = Answers(references.phi[order], references.member[order])
    a = rmia.slope(references)
    assert 0 <= a <= 1
    assert rmia.slope(turned) == pytest.approx(a)
    for mean in (rmia.mean_probability, lambda given: rmia.corrected_probability(given, a)):
        assert (rmia.ratio(phi + step, mean(references)) > rmia.ratio(phi, mean(references))).all()
        np.testing.assert_allclose(mean(references), mean(turned))


@given(st.integers(0, 2**32 - 1))
def test_a_sample_that_all_references_have_is_compared_with_all(seed):
    _, references = random_answers(3, 10, seed)
    member = references.member.copy()
    member[:, 0], member[:, 1] = True, False
    some = Answers(references.phi, member)
    expected = expit(references.phi[:, :2]).mean(axis=0)
    np.testing.assert_allclose(np.exp(rmia.mean_probability(some)[:2]), expected)
    np.testing.assert_allclose(np.exp(rmia.corrected_probability(some, 1.0)[:2]), expected)
    assert np.isfinite(rmia.corrected_probability(some, 0.5)).all()
