"""The combined attack: it learns on the references, never on the targets' membership, and beats what it combines."""

import numpy as np
import pytest
from reference_models import Table, halves, numbered, phis, world

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import combined, lira, rmia
from safedeploy.attacks.membership.level import without_class_bias
from safedeploy.attacks.references import References
from safedeploy.data.samples import content_digests
from safedeploy.roc import auc, tpr_at_fpr


def separation(scores, member):
    return auc(scores.values[member], scores.values[~member])


def test_a_victim_is_judged_without_its_complement_so_that_counts_say_nothing():
    member = halves(6, 20, np.random.default_rng(0))
    left = combined.left_out(member)
    assert left == {k: [other for other in range(6) if other // 2 != k // 2] for k in range(6)}
    for others in left.values():
        assert (member[others].sum(axis=0) == 2).all()


def test_two_references_or_uneven_ones_simulate_no_victim():
    rng = np.random.default_rng(0)
    assert combined.left_out(halves(2, 20, rng)) == {}
    assert combined.left_out(rng.random((6, 20)) < 0.5) == {}
    assert combined.left_out(halves(3, 20, rng)) == {2: [0, 1]}


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_what_is_remembered_is_caught(count):
    artifact, knowledge, targets, member = world(5.0, count)
    scores = combined.score(artifact, knowledge, targets)
    assert separation(scores, member) > 0.95
    flagged = scores.values >= scores.threshold
    assert 0.5 * (flagged[member].mean() + 1 - flagged[~member].mean()) > 0.85


@pytest.mark.parametrize("count", [2, 4])
def test_a_model_that_remembers_nothing_gives_nothing_away(count):
    """The mean of ten AUCs of 300 + 300 has a standard error of 0.0075."""
    found, rates = [], []
    for seed in range(10):
        artifact, knowledge, targets, member = world(0.0, count, seed=seed)
        scores = combined.score(artifact, knowledge, targets)
        found.append(separation(scores, member))
        flagged = scores.values >= scores.threshold
        rates.append(0.5 * (flagged[member].mean() + 1 - flagged[~member].mean()))
    assert abs(np.mean(found) - 0.5) < 0.025
    assert abs(np.mean(rates) - 0.5) < 0.025


@pytest.mark.parametrize("count", [2, 6])
def test_it_is_stronger_than_lira_and_rmia_where_phi_is_not_normal(count):
    """What a model has trained on it answers with φ skewed, and how much depends on how hard the sample is."""
    ours, theirs = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        samples = 2000
        member, mine = halves(count, samples, rng), rng.permutation(samples) < samples // 2
        level = rng.normal(scale=2.5, size=samples)

        def make(inside, level=level, rng=rng):
            noise = rng.normal(size=inside.shape)
            return np.where(inside, np.logaddexp(0, level) + rng.gamma(1.0, 1.0, size=inside.shape), level + noise)

        everything = numbered(np.arange(samples))
        references = References(content_digests(everything.x), everything.y, make(member)[:, :, None], member)
        known = np.arange(samples) < samples // 2
        sides = [numbered(np.flatnonzero(known & side)) for side in (mine, ~mine)]
        knowledge = Knowledge(*sides, seed, references)
        artifact, targets = Table(make(mine)), numbered(np.flatnonzero(~known))
        ours.append(separation(combined.score(artifact, knowledge, targets), mine[~known]))
        theirs.append(
            max(separation(attack(artifact, knowledge, targets), mine[~known]) for attack in (lira.online, rmia.online))
        )
    assert np.mean(ours) > np.mean(theirs) + 0.005


def test_references_trained_in_another_way_do_not_mislead_it():
    """The victim remembers where the references do, but answers everything far more surely than they."""
    artifact, knowledge, targets, member = world(3.0, 8, samples=4000, noise=1.0)
    sure = Table(3 * artifact.phi + 10)
    ours, theirs = (attack(sure, knowledge, targets) for attack in (combined.score, lira.online))
    assert separation(ours, member) > separation(theirs, member) + 0.1
    assert separation(ours, member) > separation(combined.score(artifact, knowledge, targets), member) - 0.05


def test_scores_hardly_tie():
    artifact, knowledge, targets, member = world(3.0, 4)
    scores = combined.score(artifact, knowledge, targets).values
    assert len(np.unique(scores)) == len(scores)
    assert tpr_at_fpr(scores[member], scores[~member], 0.01).tpr > 0.05


def test_the_same_seed_gives_the_same_scores_and_targets_are_judged_whoever_comes_first():
    artifact, knowledge, targets, _ = world(3.0, 4)
    first, again = (combined.score(artifact, knowledge, targets) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    assert first.threshold == again.threshold


def test_a_class_bias_is_taken_off_and_a_class_of_few_keeps_most_of_its_own():
    rng = np.random.default_rng(0)
    labels = np.r_[np.zeros(4000, dtype=int), np.ones(4000, dtype=int), np.full(2, 2)]
    middle = rng.normal(size=(8002, 1))
    bias = np.array([1.0, -2.0, 3.0])[labels][:, None]
    levelled = without_class_bias(middle + bias, middle, labels)
    np.testing.assert_allclose((levelled - middle)[:4000], 0, atol=0.05)
    np.testing.assert_allclose((levelled - middle)[4000:8000], 0, atol=0.1)
    assert (levelled - middle)[8000:].min() > 2.9


def test_a_samples_own_answer_has_no_part_in_what_is_taken_off_it():
    rng = np.random.default_rng(0)
    phi, middle, labels = rng.normal(size=(200, 1)), np.zeros((200, 1)), np.arange(200) % 2
    raised = phi.copy()
    raised[17] += 50
    before, after = (without_class_bias(given, middle, labels) for given in (phi, raised))
    assert after[17] - before[17] == pytest.approx(50)


def test_class_bias_of_models_does_not_hide_what_they_remember():
    """Five classes of which each model is surer or less sure as a whole; membership adds less than that."""
    rng = np.random.default_rng(0)
    samples, count = 4000, 4
    member, mine = halves(count, samples, rng), rng.permutation(samples) < samples // 2
    labels = np.arange(samples) % 2
    make = phis(member, 1.0, rng)
    sure = rng.normal(scale=3.0, size=(count + 1, 2))
    everything = numbered(np.arange(samples))
    everything.y[:] = labels
    shared = make(member) + sure[:count, labels]
    references = References(content_digests(everything.x), everything.y, shared[:, :, None], member)
    known = np.arange(samples) < 1000

    def part(chosen):
        samples = numbered(np.flatnonzero(chosen))
        samples.y[:] = labels[chosen]
        return samples

    class Biased(Table):
        def logits(self, x):
            rows = x[:, 0].astype(int)
            logits = super().logits(x)
            return np.where(labels[rows][:, None] == 0, logits, logits[:, ::-1])

    artifact = Biased(make(mine) + sure[count, labels])
    knowledge = Knowledge(part(known & mine), part(known & ~mine), 0, references)
    ours, theirs = (attack(artifact, knowledge, part(~known)) for attack in (combined.score, lira.online))
    assert separation(ours, mine[~known]) > separation(theirs, mine[~known]) + 0.02
