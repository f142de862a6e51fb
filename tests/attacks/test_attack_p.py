"""Attack P: a score that reads as −log p against the population, in the loss attack's order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.attacks.membership import attack_p
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.roc import auc


def test_the_value_is_minus_log_of_the_share_at_or_above():
    population = np.array([1.0, 2.0, 3.0, 4.0])
    found = attack_p.rarity(np.array([4.0, 2.0, 1.0, 2.5]), population)
    np.testing.assert_allclose(found[:3], -np.log(np.array([1, 3, 4]) / 5))
    assert found[3] == pytest.approx((-np.log(3 / 5) - np.log(2 / 5)) / 2)


def test_p_values_of_the_populations_own_kind_are_uniform():
    rng = np.random.default_rng(0)
    p = np.exp(-attack_p.rarity(rng.normal(size=20_000), rng.normal(size=20_000)))
    for share in (0.01, 0.1, 0.5):
        error = np.sqrt(2 * share * (1 - share) / 20_000)  # of the population's and the sample's share together
        assert np.mean(p <= share) == pytest.approx(share, abs=4 * error)


def test_it_orders_as_the_loss_does(made):
    knowledge, members, nonmembers = made.quarters(200)
    artifact = made.memoriser(knowledge.members, members)
    targets = made.together(members, nonmembers)
    scores = attack_p.score(artifact, knowledge, targets)
    phi = scaled_logit(artifact.logits(targets.x), targets.y)
    assert auc(scores.values[:200], scores.values[200:]) == auc(phi[:200], phi[200:]) > 0.98
    flagged = scores.values >= scores.threshold
    assert flagged[:200].mean() - flagged[200:].mean() > 0.9


def test_a_population_of_one_value_gives_finite_scores():
    assert np.isfinite(attack_p.rarity(np.array([2.0, 2.0]), np.array([2.0, 2.0]))).all()


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=30), st.floats(-60, 60), st.floats(0.001, 50))
def test_it_grows_with_phi(population, phi, step):
    low, high = attack_p.rarity(np.array([phi, phi + step]), np.array(population))
    assert high >= low
    if np.std(population) > 0.1:
        assert high > low
