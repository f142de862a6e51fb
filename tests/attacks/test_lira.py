"""LiRA: scipy's likelihood ratio, the one-sided offline form, and the traps others fell into."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_models import Table, halves, numbered, phis, world
from scipy import stats

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import likelihood, lira
from safedeploy.attacks.references import Answers, References
from safedeploy.data.samples import content_digests
from safedeploy.errors import UserError
from safedeploy.roc import auc, tpr_at_fpr


def answers(count, samples, seed, gain=2.0):
    rng = np.random.default_rng(seed)
    member = halves(count, samples, rng)
    make = phis(member, gain, rng)
    return make(np.zeros(samples)), Answers(make(member)[:, :, None], member)


def separation(scores, member):
    return auc(scores[member], scores[~member])


def test_the_ratio_with_own_deviations_is_scipys():
    phi, references = answers(32, 20, 0)
    for i in range(20):
        mine = references.member[:, i]
        inside, outside = references.phi[mine, i, 0], references.phi[~mine, i, 0]
        expected = stats.norm(inside.mean(), inside.std()).logpdf(phi[i])
        expected -= stats.norm(outside.mean(), outside.std()).logpdf(phi[i])
        found = lira.ratio(phi[:, None], references, likelihood.own)[i]
        assert found == pytest.approx(expected, rel=1e-12)


def test_each_side_has_its_own_common_deviation():
    """The reference code uses the deviation of models with the sample for those without it."""
    member = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], dtype=bool)
    phi = np.where(member, [[0, 10, 20, 30]] * 2, [[0, 1, 2, 3]] * 2).astype(float)
    references = Answers(phi[:, :, None], member)
    target = np.full((4, 1), 5.0)
    wide, narrow = np.std([0, 10, 20, 30]), np.std([0, 1, 2, 3])
    expected = stats.norm.logpdf(5, [0, 10, 20, 30], wide) - stats.norm.logpdf(5, [0, 1, 2, 3], narrow)
    np.testing.assert_allclose(lira.ratio(target, references, likelihood.common), expected)


def test_two_references_separate_by_the_raw_deviation_where_the_residual_one_is_zero():
    artifact, knowledge, targets, member = world(4.0, 2)
    found = knowledge.references.of(targets)
    assert (likelihood.seen(found.phi, found.member).squares == 0).all()
    assert separation(lira.online(artifact, knowledge, targets).values, member) > 0.8


@pytest.mark.parametrize("attack", [lira.online, lira.offline])
def test_a_model_that_remembers_nothing_gives_nothing_away(attack):
    """The mean of ten AUCs of 300 + 300 has a standard error of 0.0075."""
    found = []
    for seed in range(10):
        artifact, knowledge, targets, member = world(0.0, 8, seed=seed)
        found.append(separation(attack(artifact, knowledge, targets).values, member))
    assert abs(np.mean(found) - 0.5) < 0.025


@pytest.mark.parametrize("attack", [lira.online, lira.offline])
def test_a_model_that_remembers_is_caught_at_few_false_positives(attack):
    artifact, knowledge, targets, member = world(8.0, 16)
    scores = attack(artifact, knowledge, targets)
    rate = tpr_at_fpr(scores.values[member], scores.values[~member], 0.01)
    assert rate.tpr > 0.9 > rate.null_high
    flagged = scores.values >= scores.threshold
    assert 0.5 * (flagged[member].mean() + 1 - flagged[~member].mean()) > 0.95


def test_the_offline_score_has_one_side_and_orders_as_the_log_of_the_cdf():
    """Two-sided log densities call a sample answered far too badly a member."""
    phi, references = answers(16, 40, 1)
    outside = likelihood.own(likelihood.seen(references.phi, ~references.member))
    low, high = (lira.one_sided(outside.mean + far * outside.scale, references, likelihood.own) for far in (-3, 3))
    np.testing.assert_allclose(low, -np.log(stats.norm.cdf(3)), rtol=1e-9)
    assert (high > low).all()
    scores = lira.one_sided(phi[:, None], references, likelihood.own)
    cdf = stats.norm.logcdf(phi, outside.mean[:, 0], outside.scale[:, 0])
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(cdf))


def test_offline_scores_do_not_tie_where_the_cdf_is_one():
    _, references = answers(16, 2, 0)
    far = [lira.one_sided(np.full((2, 1), phi), references, likelihood.common)[0] for phi in (100.0, 200.0, 300.0)]
    assert far[0] < far[1] < far[2] < np.inf


def test_shrunken_deviations_beat_both_published_ones_where_samples_differ_in_spread():
    """Few models, spreads that differ tenfold: own deviations are noise, the common one fits nobody."""
    gains = {"shrunken": [], "common": [], "own": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        samples = 2000
        member, mine = halves(8, samples, rng), rng.permutation(samples) < samples // 2
        noise = np.exp(rng.normal(scale=0.8, size=samples))
        level = rng.normal(scale=1.0, size=samples)

        def make(inside, level=level, noise=noise, rng=rng):
            return level + 2 * inside + noise * rng.normal(size=inside.shape)

        phi, references = make(mine), Answers(make(member)[:, :, None], member)
        for name in gains:
            scores = lira.ratio(phi[:, None], references, getattr(likelihood, name))
            gains[name].append(separation(scores, mine))
    means = {name: np.mean(values) for name, values in gains.items()}
    assert means["shrunken"] > means["common"] + 0.01
    assert means["shrunken"] > means["own"] + 0.01


def test_the_shrinkage_finds_the_prior_that_variances_were_drawn_from():
    """s² of scaled inverse χ² variances with 8 degrees and scale 2 (Smyth 2004's model), 200 models a side."""
    rng = np.random.default_rng(0)
    variance = 8 * 2.0 / rng.chisquare(8, size=20_000)
    phi = rng.normal(size=(4, 20_000)) * np.sqrt(variance)
    side = likelihood.seen(phi[:, :, None], np.ones((4, 20_000), dtype=bool))
    degrees, level = likelihood._prior(side, 0)
    assert degrees == pytest.approx(8, rel=0.1)
    assert level == pytest.approx(2, rel=0.03)


def test_equal_variances_shrink_to_one_and_the_density_is_all_but_normal():
    rng = np.random.default_rng(0)
    side = likelihood.seen(rng.normal(size=(6, 5000, 1)), np.ones((6, 5000), dtype=bool))
    spread = likelihood.shrunken(side)
    assert spread.freedom.min() > 100
    np.testing.assert_allclose(spread.scale, np.sqrt(1 + 1 / 6), rtol=0.1)


def test_the_published_choice_of_variance_turns_at_32_references():
    assert lira.published(31) is likelihood.common
    assert lira.published(32) is likelihood.own


def test_views_add_up_as_independent_coordinates():
    phi, references = answers(8, 30, 0)
    twice = Answers(np.concatenate([references.phi] * 2, axis=2), references.member)
    for form in (lira.ratio, lira.one_sided):
        one = form(phi[:, None], references, likelihood.shrunken)
        np.testing.assert_allclose(form(np.stack([phi] * 2, 1), twice, likelihood.shrunken), 2 * one)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 6, 16]))
def test_the_order_of_the_references_does_not_matter(seed, count):
    phi, references = answers(count, 12, seed)
    order = np.random.default_rng(seed).permutation(count)
    turned = Answers(references.phi[order], references.member[order])
    for variance in (likelihood.common, likelihood.own, likelihood.shrunken):
        for form in (lira.ratio, lira.one_sided):
            one, other = (form(phi[:, None], given, variance) for given in (references, turned))
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 50), st.sampled_from([2, 4, 16]))
def test_the_offline_score_grows_with_phi(seed, step, count):
    phi, references = answers(count, 12, seed)
    low, high = (lira.one_sided(phi[:, None] + by, references, likelihood.shrunken) for by in (0, step))
    assert (high > low).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4, 8]))
def test_scores_are_finite_even_for_models_that_all_answer_alike(seed, count):
    _, references = answers(count, 12, seed)
    flat = Answers(np.full_like(references.phi, 3.0), references.member)
    for form in (lira.ratio, lira.one_sided):
        assert np.isfinite(form(np.full((12, 1), 3.0), flat, likelihood.shrunken)).all()


def test_without_references_the_error_says_what_to_do():
    knowledge = Knowledge(numbered([0, 1]), numbered([2, 3]))
    with pytest.raises(UserError, match="2 reference models, not 0"):
        lira.online(Table(np.zeros(8)), knowledge, numbered([4]))
    everything = numbered(np.arange(8))
    one = References(content_digests(everything.x), everything.y, np.zeros((1, 8, 1)), np.ones((1, 8), dtype=bool))
    with pytest.raises(UserError, match="2 reference models, not 1"):
        lira.online(Table(np.zeros(8)), Knowledge(numbered([0]), numbered([2]), 0, one), numbered([4]))
