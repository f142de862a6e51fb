"""The margin: how far the true class is ahead of the best other, on every scale a file may answer in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.attacks.base import Attack
from safedeploy.attacks.membership import signals
from safedeploy.roc import auc

MARGINS = [
    Attack(name, "black", f"safedeploy.attacks.membership.threshold:{name.replace('-', '_')}")
    for name in ("margin", "margin-by-class")
]
each = pytest.mark.parametrize("attack", MARGINS, ids=lambda attack: attack.name)


def test_the_margin_by_hand():
    logits = np.array([[3.0, 1.0, 0.5], [3.0, 1.0, 0.5], [3.0, 1.0, 0.5]])
    np.testing.assert_array_equal(signals.margin(logits, np.array([0, 1, 2])), [2.0, -2.0, -2.5])


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(-15, 15), min_size=3, max_size=3), min_size=1, max_size=6), shift=st.floats(-9, 9)
)
def test_it_is_the_same_of_logits_and_of_log_probabilities(rows, shift):
    """A file that ends in a softmax answers probabilities, which are logits less a number a row."""
    logits = np.array(rows)
    labels = np.arange(len(rows)) % 3
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(signals.margin(log_p, labels), signals.margin(logits + shift, labels), atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(row=st.lists(st.floats(-15, 15), min_size=2, max_size=8), label=st.integers(0, 7))
def test_it_is_positive_exactly_where_the_answer_is_right(row, label):
    label %= len(row)
    found = signals.margin(np.array([row]), np.array([label]))[0]
    others = [value for number, value in enumerate(row) if number != label]
    assert (found > 0) == (row[label] > max(others))


def test_of_two_classes_it_is_the_log_odds():
    logits = np.random.default_rng(0).normal(size=(50, 2))
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    labels = np.ones(50, dtype=np.int64)
    np.testing.assert_allclose(signals.margin(logits, labels), np.log(p) - np.log1p(-p), atol=1e-12)


@pytest.mark.parametrize("size", [40.0, 3e38])
def test_a_model_that_is_as_sure_as_floats_allow_has_finite_margins(size):
    logits = np.array([[size, -size, 0], [-size, size, 0], [size, size, -size]], dtype=np.float32)
    for label in range(3):
        assert np.isfinite(signals.margin(logits, np.full(3, label))).all()


def test_the_logits_handed_in_stay_as_they_are():
    logits = np.random.default_rng(1).normal(size=(5, 3))
    before = logits.copy()
    signals.margin(logits, np.zeros(5, dtype=np.int64))
    np.testing.assert_array_equal(logits, before)


@each
def test_a_memorising_artifact_is_caught_and_an_honest_one_is_not(made, attack):
    knowledge, members, nonmembers = made.quarters(300)
    targets = made.together(members, nonmembers)
    scores = attack.score(made.memoriser(knowledge.members, members), knowledge, targets)
    assert auc(scores.values[:300], scores.values[300:]) > 0.98
    assert ((scores.values >= scores.threshold) == (np.arange(600) < 300)).mean() > 0.97
    scores = attack.score(made.honest(), knowledge, targets)
    assert abs(auc(scores.values[:300], scores.values[300:]) - 0.5) < 0.07  # three standard errors


@each
def test_answers_that_are_labels_leave_whether_they_are_right(made, attack):
    knowledge, members, nonmembers = made.quarters(100)
    memoriser = made.memoriser(knowledge.members, members)
    one_hot = made.Function(lambda x: np.eye(4)[memoriser.answer(x).argmax(1)])
    targets = made.together(members, nonmembers)
    scores = attack.score(one_hot, knowledge, targets)
    right = memoriser.answer(targets.x).argmax(1) == targets.y
    assert np.isfinite(scores.values).all()
    for label in range(4):
        of_class = targets.y == label
        assert auc(scores.values[of_class & right], scores.values[of_class & ~right]) == 1.0
