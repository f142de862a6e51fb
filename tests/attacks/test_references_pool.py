"""References are looked up by content and label; copies of one example are in where any of them is."""

import numpy as np
import pytest

from safedeploy.attacks.references import References
from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError

X = np.array([[1, 2], [3, 4], [1, 2], [5, 6]], dtype=np.float32)
Y = np.array([0, 1, 0, 1])
PHI = np.arange(8, dtype=np.float64).reshape(2, 4, 1)
MEMBER = np.array([[True, False, False, True], [False, True, False, False]])


def made():
    return References(content_digests(X), Y, PHI, MEMBER)


def test_answers_are_of_the_sample_s_row_whatever_the_order():
    answers = made().of(Samples(X[[3, 1]], Y[[3, 1]]))
    np.testing.assert_array_equal(answers.phi[..., 0], PHI[:, [3, 1], 0])
    np.testing.assert_array_equal(answers.member, MEMBER[:, [3, 1]])


def test_a_copy_is_in_where_the_other_is():
    for at in (0, 2):
        answers = made().of(Samples(X[[at, 3]], Y[[at, 3]]))
        np.testing.assert_array_equal(answers.member, [[True, True], [False, False]])


def test_the_first_few_answer_as_they_do_among_all():
    samples = Samples(X[[2, 1]], Y[[2, 1]])
    whole = made()
    few = whole.take(1).of(samples)
    np.testing.assert_array_equal(few.phi, whole.of(samples).phi[:1])
    np.testing.assert_array_equal(few.member, whole.of(samples).member[:1])
    assert whole.take(1).count == 1


def test_one_content_under_two_labels_is_asked_about_under_its_own():
    labels = np.array([0, 1, 2, 1])  # rows 0 and 2 are the same input
    contradictory = References(content_digests(X), labels, PHI, MEMBER)
    for at, label in ((0, 0), (2, 2)):
        answers = contradictory.of(Samples(X[[3, at]], np.array([1, label])))
        np.testing.assert_array_equal(answers.phi[..., 0], PHI[:, [3, at], 0])
        np.testing.assert_array_equal(answers.member, [[True, True], [False, False]])
    with pytest.raises(UserError, match="1 of 2 samples have another label"):
        contradictory.of(Samples(X[:2], np.array([1, 1])))


def test_a_sample_outside_the_pool_or_under_another_label_is_refused():
    with pytest.raises(UserError, match="1 of 2 samples are not in the reference models' pool"):
        made().of(Samples(np.array([[1, 2], [9, 9]], dtype=np.float32), np.array([0, 0])))
    with pytest.raises(UserError, match="1 of 2 samples have another label"):
        made().of(Samples(X[:2], np.array([0, 0])))
