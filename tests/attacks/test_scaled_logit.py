"""The scaled logit φ against numbers worked by hand and against its definition where that can be computed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from safedeploy.attacks.membership.signals import scaled_logit


def test_two_classes_give_the_difference_of_their_logits():
    """p_0 = e^3 / (e^3 + e^1), so φ = log p_0 − log p_1 = 3 − 1."""
    logits = np.array([[3.0, 1.0], [3.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(scaled_logit(logits, np.array([0, 1])), [2.0, -2.0], rtol=1e-15)


def test_probabilities_of_a_half_a_quarter_and_a_quarter():
    """φ = log(1/2 ÷ 1/2) = 0 for the first class and log(1/4 ÷ 3/4) = −log 3 for the others."""
    logits = np.log([[0.5, 0.25, 0.25]] * 3)
    np.testing.assert_allclose(scaled_logit(logits, np.arange(3)), [0.0, -np.log(3), -np.log(3)], atol=1e-15)


def test_saturated_answers_keep_their_order():
    """In float64, 1 − p is 0 for both; by hand, φ = 60 − log(2·e^0) and 80 − log(2·e^0)."""
    phi = scaled_logit(np.array([[60.0, 0.0, 0.0], [80.0, 0.0, 0.0]], dtype=np.float32), np.array([0, 0]))
    np.testing.assert_allclose(phi, [60 - np.log(2), 80 - np.log(2)], rtol=1e-15)


@given(
    st.lists(st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=4), min_size=1, max_size=20), st.integers(0, 3)
)
def test_it_is_its_definition_where_nothing_saturates(rows, label):
    logits, labels = np.array(rows, dtype=np.float32), np.full(len(rows), label)
    p = np.exp(log_softmax(logits.astype(np.float64), axis=1))[:, label]
    before = logits.copy()
    np.testing.assert_allclose(scaled_logit(logits, labels), np.log(p) - np.log1p(-p), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(logits, before)
