"""Attribute inference: the sensitive column, what a file is asked, and each attack against a case worked by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.attacks.attribute import ask as asking
from safedeploy.attacks.attribute import guess
from safedeploy.attacks.attribute.ask import Answers, ask
from safedeploy.attacks.attribute.column import parse_columns, sensitive_column
from safedeploy.attacks.attribute.guess import Case
from safedeploy.attacks.attribute.impute import impute
from safedeploy.attacks.base import Knowledge
from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.roc import auc


def knowledge(x, classes=2):
    """Both sides hold the rows of x."""
    side = Samples(np.asarray(x, dtype=np.float32), np.arange(len(x)) % classes)
    return Knowledge(side, side)


def coins(count=100, columns=4, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (count, columns)).astype(np.float32)


def case(right=((True, False),), log_p=None, imputed=None, top=None):
    right = np.array(right)
    zeros = np.zeros(right.shape)
    figures = [zeros if part is None else np.asarray(part, dtype=float) for part in (log_p, top)]
    return Case(
        zeros if imputed is None else np.asarray(imputed, dtype=float), Answers(figures[0], zeros, figures[1], right)
    )


def test_a_binary_column_has_its_two_values():
    found = sensitive_column(knowledge(coins()), [2])
    assert found.candidates.tolist() == [[0], [1]]
    assert found.names == ("0", "1")
    x = coins(seed=1)
    assert (found.read(x) == x[:, 2]).all()


def test_a_one_hot_group_has_a_value_a_category():
    hot = np.eye(3, dtype=np.float32)[np.arange(90) % 3]
    x = np.concatenate([coins(90, 2), hot, coins(90, 1)], axis=1)
    found = sensitive_column(knowledge(x), [2, 3, 4])
    assert sorted(map(tuple, found.candidates.tolist())) == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert (found.candidates[found.read(x)] == hot).all()
    assert found.hide(x).tolist() == x[:, [0, 1, 5]].tolist()


def test_a_number_is_cut_at_its_quantiles_and_tried_with_medians():
    x = np.column_stack([np.arange(400) / 4, np.zeros(400)])
    found = sensitive_column(knowledge(x), [0], most=4)
    assert found.edges == pytest.approx([25, 50, 75])
    assert np.bincount(found.read(x.astype(np.float32))).tolist() == [100] * 4
    assert found.candidates[:, 0] == pytest.approx([12.375, 37.375, 62.375, 87.375])
    assert found.names[0] == "below 25"


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=30, max_size=120),
    st.integers(2, 9),
)
def test_putting_a_value_in_is_reading_it_back_and_leaves_the_rest_alone(held, most):
    x = np.column_stack([np.zeros(len(held)), held, np.arange(len(held))]).astype(np.float32)
    try:
        found = sensitive_column(knowledge(x), [1], most)
    except UserError:
        return
    for value in range(len(found.names)):
        put = found.put(x, value)
        assert (found.read(put) == value).all()
        assert (found.hide(put) == found.hide(x)).all()
        assert put is not x


def test_a_column_that_is_mostly_one_number_makes_no_empty_bin():
    x = np.column_stack([np.r_[np.zeros(300), np.arange(1, 101)], np.ones(400)])
    found = sensitive_column(knowledge(x), [0], most=8)
    assert np.bincount(found.read(x.astype(np.float32)), minlength=len(found.names)).min() > 0


def test_a_value_that_hardly_anyone_known_holds_is_no_candidate():
    x = coins()
    x[:3, 1] = 7
    found = sensitive_column(knowledge(x), [1])
    assert found.names == ("0", "1")
    assert (found.read(x)[:3] == -1).all()


def test_columns_are_named_by_number_range_or_name():
    names = ("age", "job=clerk", "job=nurse", "pay")
    assert parse_columns("2", (4,)) == (2,)
    assert parse_columns("0,2", (4,)) == (0, 2)
    assert parse_columns("1-3", (4,)) == (1, 2, 3)
    assert parse_columns("job", (4,), names) == (1, 2)
    assert parse_columns("job=nurse", (4,), names) == (2,)
    assert parse_columns("3", (4,), names) == (3,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("4", "no column 4: the model's input has columns 0 to 3"),
        ("1,1", "name each column once"),
        ("0-3", "leave the attacker some to know"),
        ("pay", "write a column's number from 0"),
        ("-1", "write a column's number from 0"),
        ("3-1", "3-1 ends before it begins; write 1-3"),
    ],
)
def test_what_is_no_column_is_refused_in_one_line(text, fault):
    with pytest.raises(UserError, match=fault) as error:
        parse_columns(text, (4,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3,) * 2])
def test_images_and_pairs_of_texts_have_no_columns(shape):
    with pytest.raises(UserError, match="needs a table; this model takes inputs of shape"):
        parse_columns("0", shape)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean 'job'"):
        parse_columns("jop", (4,), ("age", "job=clerk", "job=nurse", "pay"))


def test_images_constants_and_numbers_in_groups_have_nothing_to_infer():
    images = Samples(np.zeros((20, 1, 4, 4), dtype=np.float32), np.zeros(20, dtype=np.int64))
    with pytest.raises(UserError, match="a sensitive column needs a table"):
        sensitive_column(Knowledge(images, images), [0])
    with pytest.raises(UserError, match="nothing to infer"):
        sensitive_column(knowledge(np.ones((40, 3))), [1])
    six = np.tile(coins(32, 6, seed=3), (5, 1))
    with pytest.raises(UserError, match="no category"):
        sensitive_column(knowledge(np.column_stack([six, np.ones(160)])), range(6))


def test_answers_are_the_files_own_log_probabilities(stranger, monkeypatch):
    artifact = OnnxArtifact(Path(stranger.model))
    x = np.random.default_rng(3).normal(size=(30, 6)).astype(np.float32)
    x[:, 4] = np.arange(30) % 2
    samples = Samples(x, np.arange(30) % 3)
    found = sensitive_column(Knowledge(samples, samples), [4])
    monkeypatch.setattr(asking, "ROWS", 7)
    seen: list[float] = []
    answers = ask(artifact, found, samples, seen.append)
    for value in (0, 1):
        changed = x.copy()
        changed[:, 4] = value
        log_p = log_softmax(artifact.logits(changed).astype(np.float64), axis=1)
        own = log_p[np.arange(30), samples.y]
        assert answers.log_p[:, value] == pytest.approx(own, abs=1e-6)
        assert answers.phi[:, value] == pytest.approx(own - np.log1p(-np.exp(own)), abs=1e-5)
        assert answers.top[:, value] == pytest.approx(log_p.max(axis=1), abs=1e-6)
        assert (answers.right[:, value] == (log_p.argmax(axis=1) == samples.y)).all()
    assert seen[-1] == 1
    assert seen == sorted(seen)


def test_sure_answers_keep_apart_in_phi_where_log_p_ties():
    sure = SimpleNamespace(logits=lambda x: np.column_stack([60 + 10 * x[:, 0], 0 * x[:, 0]]).astype(np.float32))
    x = np.column_stack([np.arange(20) % 2, np.ones(20)]).astype(np.float32)
    samples = Samples(x, np.zeros(20, dtype=np.int64))
    answers = ask(sure, sensitive_column(Knowledge(samples, samples), [0]), samples)
    assert (answers.log_p[:, 0] == answers.log_p[:, 1]).all()
    assert answers.phi[0] == pytest.approx([60, 70])


def test_confidence_is_the_maximum_a_posteriori_guess():
    """p_y of 0.6 and 0.4 under priors of 1/5 and 4/5: 0.12 against 0.32."""
    values = np.array([0, 1, 1, 1, 1])
    scores = guess.confidence(case(), values, case(log_p=np.log([[0.6, 0.4]])))
    assert softmax(scores, axis=1)[0] == pytest.approx([0.12 / 0.44, 0.32 / 0.44])


@pytest.mark.parametrize(
    ("right", "confidences", "guessed"),
    [
        ((False, True, False), (0.9, 0.5, 0.9), 1),  # case 1: one value predicted right
        ((True, True, False), (0.6, 0.8, 0.9), 1),  # case 2: of the right ones the surest
        ((False, False, False), (0.6, 0.8, 0.4), 2),  # case 3: of the wrong ones the least sure
    ],
)
def test_csmia_decides_its_three_cases(right, confidences, guessed):
    scores = guess.cases(case(), np.array([0]), case([right], top=[np.log(confidences)]))
    assert scores.argmax() == guessed


def test_lomia_takes_the_one_value_that_is_predicted_right_and_imputes_elsewhere():
    imputed = np.log([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    right = [(False, True), (True, True), (False, False)]
    assert guess.labels(case(), np.array([0]), case(right, imputed=imputed)).argmax(axis=1).tolist() == [1, 0, 1]


def test_label_only_attacks_see_no_confidence():
    rng = np.random.default_rng(0)
    values, right = rng.integers(0, 2, 60), rng.integers(0, 2, (60, 2)).astype(bool)
    imputed = np.log(rng.dirichlet([1, 1], 60))
    for attack in guess.ATTRIBUTE_ATTACKS:
        answers = [
            attack.function(known, values, known)
            for known in (
                case(right, log_p=-rng.random((60, 2)), top=-rng.random((60, 2)), imputed=imputed) for _ in range(2)
            )
        ]
        assert bool((answers[0] == answers[1]).all()) is attack.labels_only, attack.name


def test_the_learner_ignores_answers_that_say_nothing_and_finds_those_that_do():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, 400)
    imputed = np.log(rng.dirichlet([2, 2], 400))
    told = -np.abs(np.eye(2)[1 - values] * 3 + 0.1 * rng.random((400, 2)))
    silent, telling = (
        case(np.ones((400, 2), bool), imputed=imputed),
        case(np.ones((400, 2), bool), log_p=told, imputed=imputed),
    )
    assert guess.learned(silent, values, silent) == pytest.approx(guess.imputation(silent, values, silent), abs=1e-3)
    assert (guess.learned(telling, values, telling).argmax(axis=1) == values).mean() > 0.99


def test_imputation_guesses_known_samples_out_of_fold():
    """A column of coins is beyond guessing even for the samples it was learned from; a copied one is not."""
    x = coins(200, 6)
    x[:, 5] = x[:, 1]
    samples, other = (Samples(part, np.arange(len(part)) % 2) for part in (x, coins(200, 6, seed=5)))
    for column, low, high in ((0, 0.35, 0.65), (1, 0.99, 1.0)):
        found = sensitive_column(Knowledge(samples, samples), [column])
        values = found.read(x)
        known, wanted = impute(found, samples, values, [other], 2, seed=0)
        assert low <= auc(known[values == 1, 1], known[values == 0, 1]) <= high
        assert wanted.shape == (200, 2)
        assert np.exp(known).sum(axis=1) == pytest.approx(1)
        assert np.isfinite(known).all()
