"""Each signal against its formula, written as it stands in the paper, sample by sample."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.attacks.membership import signals
from safedeploy.roc import auc

NAMES = ("loss", "confidence", "entropy", "modified_entropy")

logit_rows = st.lists(st.floats(-15, 15), min_size=2, max_size=8)


def softmax(row):
    exponentials = [(Decimal(value) - Decimal(max(row))).exp() for value in row]
    return [value / sum(exponentials) for value in exponentials]


def naive(name, row, label):
    """Yeom et al. 2018; Salem et al. 2019; Song & Mittal 2021, equations 3 and 4, the sign turned: higher is member.

    In 60 digits: in floats, 1 − p of a sure answer is mostly rounding.
    """
    with localcontext(prec=60):
        p = softmax(row)
        if name == "loss":
            return float(p[label].ln())
        if name == "confidence":
            return float(max(p).ln())
        if name == "entropy":
            entropy = -sum(value * value.ln() for value in p)
            return float(-entropy)
        others = sum(value * (1 - value).ln() for number, value in enumerate(p) if number != label)
        modified_entropy = -(1 - p[label]) * p[label].ln() - others
        return float(-modified_entropy)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80, deadline=None)
@given(row=logit_rows, data=st.data())
def test_a_signal_is_its_formula(name, row, data):
    label = data.draw(st.integers(0, len(row) - 1))
    found = getattr(signals, name)(np.array([row]), np.array([label]))
    assert found.dtype == np.float64
    assert found[0] == pytest.approx(naive(name, row, label), rel=1e-6, abs=1e-9)


def test_modified_entropy_by_hand():
    logits = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    right = -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.75)
    wrong = -0.75 * math.log(0.25) - 0.5 * math.log(0.5) - 0.25 * math.log(0.75)
    np.testing.assert_allclose(signals.modified_entropy(logits, np.array([0, 1])), [-right, -wrong])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [40.0, 1000.0, 3e38])
def test_a_model_that_is_as_sure_as_floats_allow_has_finite_scores(name, size):
    """−∞ would tie the most telling samples with each other, and no figure can be written of it."""
    logits = np.array([[size, -size, 0], [-size, size, 0], [size, size, -size], [0, 0, 0]], dtype=np.float32)
    for label in range(3):
        found = getattr(signals, name)(logits, np.full(4, label))
        assert np.isfinite(found).all()


def test_scores_tell_sure_answers_apart_where_probabilities_are_one():
    """In float32 every p here is exactly 1; the order is in the logits all the same."""
    logits = np.array([[20.0, 0.0], [40.0, 0.0], [60.0, 0.0]], dtype=np.float32)
    right, wrong = np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.int64)
    for name in ("loss", "modified_entropy"):
        found = getattr(signals, name)(logits, right)
        assert found[0] < found[1] < found[2]
        found = getattr(signals, name)(logits, wrong)
        assert found[0] > found[1] > found[2]
    for name in ("confidence", "entropy"):
        found = getattr(signals, name)(logits, wrong)  # blind to the label
        assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_of_all_logits_changes_nothing(name):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 5)), rng.integers(5, size=50)
    signal = getattr(signals, name)
    np.testing.assert_allclose(signal(logits + 123.0, labels), signal(logits, labels), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_is_higher_on_what_a_nearest_neighbour_model_has_memorised(name):
    rng = np.random.default_rng(1)
    members, others = rng.normal(size=(2, 200, 4))
    labels = rng.integers(3, size=200)

    def answer(x):
        near = ((x[:, None] - members[None]) ** 2).sum(2).argsort(1)[:, :1]
        distance = np.sqrt(((x[:, None] - members[near]) ** 2).sum(2))[:, 0]
        return 8 * np.exp(-distance)[:, None] * np.eye(3)[labels[near[:, 0]]]

    signal = getattr(signals, name)
    assert auc(signal(answer(members), labels), signal(answer(others), rng.integers(3, size=200))) > 0.95


@pytest.mark.parametrize("name", [*NAMES, "margin", "scaled_logit"])
def test_samples_scored_block_by_block_get_the_bits_they_get_alone(name):
    generator = np.random.default_rng(0)
    classes = 100
    count = 2 * (signals.BLOCK // classes) + 7
    logits = (generator.standard_normal((count, classes)) * 8).astype(np.float32)
    labels = generator.integers(classes, size=count)
    score = getattr(signals, name)
    some = np.r_[0:3, signals.BLOCK // classes - 2 : signals.BLOCK // classes + 2, count - 3 : count]
    whole = score(logits, labels)
    assert whole.shape == (count,)
    np.testing.assert_array_equal(whole[some], [score(logits[[k]], labels[[k]])[0] for k in some])
