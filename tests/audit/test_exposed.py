"""Whom a model exposes most: the list names the right examples; the hardest tenth is chosen without membership."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from safedeploy.attacks.references import References
from safedeploy.audit.exam import Exam, halved
from safedeploy.audit.exposed import MOST, exposed_members, hardest_tenth, leakage_among
from safedeploy.data.samples import Samples, content_digests


def test_the_surest_members_are_listed_with_the_nonmembers_that_score_as_high(made):
    exam = made.exam(100)
    inside, outside = np.zeros(100), np.arange(100) / 100
    inside[[7, 42]] = 2.0, 0.97
    first, second, third = exposed_members(inside, outside, exam)[:3]
    assert (first.index, first.label, first.false_positives, first.fpr) == (7, "class 3", 0, 0.0)
    assert (second.index, second.false_positives, second.fpr) == (42, 3, 0.03)  # 0.97 (a tie counts), 0.98, 0.99
    assert third.index == 0  # ties in the order given
    assert len(exposed_members(inside, outside, exam)) == MOST


def test_of_two_plain_sets_the_index_is_that_of_the_file_given(made):
    members, nonmembers = made.samples(120, 0), made.samples(120, 1)
    exam = halved(members, nonmembers, tuple("abcd"), 0)
    inside = np.random.default_rng(0).normal(size=len(exam.members.y))
    for found in exposed_members(inside, np.zeros(60), exam):
        place = int(np.flatnonzero(exam.member_index == found.index)[0])
        np.testing.assert_array_equal(members.x[found.index], exam.members.x[place])
        assert found.label == "abcd"[members.y[found.index]]


def test_with_references_the_hardest_are_those_that_models_without_them_get_wrong(made):
    exam = made.exam(100)
    count = 200
    member = np.random.default_rng(1).random((6, count)) < 0.5
    member[0], member[1] = True, False  # every sample is out of one model at least
    out = np.random.default_rng(2).normal(size=count)
    phi = np.where(member, 50.0, out)[:, :, None]  # where a model trained on it, it is sure: that must not count
    targets = exam.targets
    references = References(content_digests(targets.x), targets.y, phi, member)
    chosen, by = hardest_tenth(exam, references)
    assert by == "references"
    assert set(np.flatnonzero(chosen)) == set(np.argsort(out)[:20])


def test_without_them_the_hardest_are_far_from_their_class(made):
    exam = made.exam(100)
    far = exam.members.x.copy()
    far[:15] += 100
    exam = Exam(exam.knowledge, Samples(far, exam.members.y), exam.nonmembers, exam.class_names)
    chosen, by = hardest_tenth(exam, None)
    assert by == "class-centre"
    assert chosen[:15].all()
    assert chosen.sum() == 20


def test_hard_samples_of_a_model_that_leaks_nothing_show_no_leakage(made):
    """Picked by the attack's own score, the top tenth of members and of non-members would; a tenth of all does not."""
    held = 0
    for seed in range(20):
        exam = made.exam(200, seed)
        scores = np.random.default_rng(seed).normal(size=400)
        found = leakage_among(*hardest_tenth(exam, None), scores[:200], scores[200:])
        held += found.auc_low <= 0.5 <= found.auc_high
        assert found.members + found.nonmembers == 40
    assert held >= 16


def test_its_auc_is_scikit_learns_among_the_chosen():
    draw = np.random.default_rng(3)
    scores, chosen = draw.normal(size=100), draw.random(100) < 0.4
    found = leakage_among(chosen, "references", scores[:50], scores[50:])
    truth = np.repeat([1, 0], 50)
    assert found.auc == pytest.approx(roc_auc_score(truth[chosen], scores[chosen]))


def test_a_tenth_with_one_side_alone_has_no_auc():
    chosen = np.repeat([True, False], 50)
    assert leakage_among(chosen, "references", np.zeros(50), np.zeros(50)) is None
