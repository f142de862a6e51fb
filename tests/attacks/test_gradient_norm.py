"""The likelihood ratio of gradient norms: near the true one where that is known, and worth more than the loss."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.base import Attack
from safedeploy.attacks.membership import gradient_norm
from safedeploy.roc import auc

ATTACK = Attack("gradient-norm", "white", "safedeploy.attacks.membership.gradient_norm:score", extra="train")


def draws(generator, n, centre, spread):
    """Two strongly correlated columns, whose difference alone tells the sides apart."""
    common = generator.normal(0, 3, n)
    return np.stack([common, common + generator.normal(centre, spread, n)], axis=1)


def test_the_ratio_is_that_of_the_known_densities():
    """N(0.2, 0.1) against N(0, 0.2) in a direction that holds a thousandth of the variance."""
    generator = np.random.default_rng(0)
    sides = [draws(generator, 4000, *side) for side in ((0.2, 0.1), (0.0, 0.2))]
    wanted = draws(generator, 1000, 0.1, 0.15)
    values, known = gradient_norm.log_ratios(*sides, wanted, seed=0)

    def true(rows):
        d = rows[:, 1] - rows[:, 0]
        return -0.5 * ((d - 0.2) / 0.1) ** 2 - np.log(0.1) + 0.5 * (d / 0.2) ** 2 + np.log(0.2)

    assert np.corrcoef(values, true(wanted).clip(-6, 6))[0, 1] > 0.9
    assert auc(known[:4000], known[4000:]) == pytest.approx(auc(*map(true, sides)), abs=0.01)


def test_known_samples_are_scored_by_trees_that_did_not_see_them():
    """Without a difference between the sides, scores in bag would tell them apart."""
    generator = np.random.default_rng(1)
    sides = [generator.normal(size=(300, 4)) for _ in range(2)]
    _, known = gradient_norm.log_ratios(*sides, sides[0], seed=0)
    assert abs(auc(known[:300], known[300:]) - 0.5) < 0.08


def test_constant_and_collinear_norms_are_no_trouble():
    generator = np.random.default_rng(2)
    column = generator.normal(size=(100, 1))
    same = np.concatenate([column, 2 * column, np.zeros((100, 1))], axis=1)
    values, _ = gradient_norm.log_ratios(same[:50], same[50:], same, seed=0)
    assert np.isfinite(values).all()
    flat, _ = gradient_norm.log_ratios(np.zeros((50, 3)), np.zeros((50, 3)), np.zeros((4, 3)), seed=0)
    np.testing.assert_array_equal(flat, np.zeros(4))


@pytest.fixture(scope="module")
def overfitted():
    """An MLP that has learned 300 samples with random labels by heart."""

    def train(knowledge, members):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 4))
        x = torch.from_numpy(np.concatenate([knowledge.members.x, members.x]))
        y = torch.from_numpy(np.concatenate([knowledge.members.y, members.y]))
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(250):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return TorchArtifact(model.eval(), "m", (6,), 4)

    return train


def test_an_overfitted_model_is_caught(made, overfitted):
    knowledge, members, nonmembers = made.quarters(150)
    artifact = overfitted(knowledge, members)
    scores = ATTACK.score(artifact, knowledge, made.together(members, nonmembers))
    assert auc(scores.values[:150], scores.values[150:]) > 0.85
    flagged = scores.values >= scores.threshold
    assert 0.5 * (flagged[:150].mean() + 1 - flagged[150:].mean()) > 0.75
    again = ATTACK.score(artifact, knowledge, made.together(members, nonmembers))
    np.testing.assert_array_equal(scores.values, again.values)


def test_no_leak_is_found_where_there_is_none(made):
    found = []
    for seed in range(4):
        knowledge, members, nonmembers = made.quarters(250, seed)
        torch.manual_seed(seed)
        artifact = TorchArtifact(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)), "m", (6,), 4)
        scores = ATTACK.score(artifact, knowledge, made.together(members, nonmembers))
        found.append(auc(scores.values[:250], scores.values[250:]))
    assert abs(np.mean(found) - 0.5) < 0.04  # three standard errors of four times 250 + 250


def test_a_file_that_hides_its_layers_says_so(made):
    knowledge, members, _ = made.quarters(60)
    with pytest.raises(Unopenable, match="hides its inside"):
        ATTACK.score(made.Function(made.honest().answer), knowledge, members)
