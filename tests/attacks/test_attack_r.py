"""Attack R: the smoothed share of references without the sample that answer it more surely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_models import halves, phis, world
from scipy import stats

from safedeploy.attacks.membership import attack_r
from safedeploy.attacks.references import Answers
from safedeploy.roc import auc


def random_answers(count, samples, seed):
    rng = np.random.default_rng(seed)
    member = halves(count, samples, rng)
    make = phis(member, 2.0, rng)
    return make(np.zeros(samples))[:, None], Answers(make(member)[:, :, None], member)


def test_it_is_the_kernel_estimate_of_the_tail_by_hand():
    phi = np.array([[[0.0]], [[1.0]], [[5.0]]])
    references = Answers(phi, np.array([[0], [0], [1]], dtype=bool))
    width = 0.5 * 2**-0.2
    share = np.mean([stats.norm.sf((2.0 - at) / width) for at in (0.0, 1.0)])
    assert attack_r.rarity(np.array([[2.0]]), references)[0] == pytest.approx(-np.log(share))


def test_far_above_every_reference_samples_still_do_not_tie():
    _, references = random_answers(8, 4, 0)
    first, second = (attack_r.rarity(np.full((4, 1), phi), references) for phi in (200.0, 300.0))
    assert (first < second).all()
    assert np.isfinite(second).all()


def test_what_is_remembered_is_caught_and_what_is_not_is_not():
    artifact, knowledge, targets, member = world(8.0, 8)
    scores = attack_r.score(artifact, knowledge, targets)
    assert auc(scores.values[member], scores.values[~member]) > 0.97
    found = []
    for seed in range(10):
        artifact, knowledge, targets, member = world(0.0, 8, seed=seed)
        scores = attack_r.score(artifact, knowledge, targets)
        found.append(auc(scores.values[member], scores.values[~member]))
    assert abs(np.mean(found) - 0.5) < 0.025  # three standard errors of ten AUCs of 300 + 300


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 20), st.sampled_from([2, 4, 8]))
def test_it_grows_with_phi_and_ignores_the_references_order(seed, step, count):
    phi, references = random_answers(count, 10, seed)
    order = np.random.default_rng(seed).permutation(count)
    turned = Answers(references.phi[order], references.member[order])
    np.testing.assert_allclose(attack_r.rarity(phi, references), attack_r.rarity(phi, turned), rtol=1e-9)
    low, high = (attack_r.rarity(np.maximum(phi, -1) + by, references) for by in (0, step))
    assert (high > low).all()
