"""Canaries: who may be one, fair and independent coins, and the guesses that the one-run bound counts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from safedeploy.data.canaries import draw_canaries, guess, read_canaries
from safedeploy.data.split import ROLES, Split
from safedeploy.errors import UserError

LABELS = np.arange(700) % 5
ROLE = np.arange(700) % len(ROLES)
SPLIT = Split(ROLE.astype(np.int8), "fingerprint")


def draw(count=100, seed=0, kind="mislabelled"):
    return draw_canaries(LABELS, 5, SPLIT, count, seed, kind)


def test_canaries_come_out_of_the_population_and_known_nonmembers_only_when_it_is_spent():
    first = draw(100)
    assert {ROLES[ROLE[at]] for at in first.index} == {"population"}
    more = draw(150)
    assert np.isin(SPLIT.indices("population"), more.index).all()
    assert {ROLES[ROLE[at]] for at in more.index} == {"population", "nonmember_known"}
    assert len(np.unique(more.index)) == 150


def test_more_canaries_than_examples_are_refused_with_the_counts():
    with pytest.raises(UserError, match="100 of population and 100 of nonmember_known"):
        draw(201)
    with pytest.raises(UserError, match="1 or more"):
        draw(0)
    with pytest.raises(UserError, match="has one alone"):
        draw_canaries(np.zeros(700, dtype=np.int64), 1, SPLIT, 10, 0)


def test_a_mislabelled_canary_never_has_its_own_label_and_every_other_as_often():
    canaries = draw(200)
    step = (canaries.label - LABELS[canaries.index]) % 5
    assert set(step) == {1, 2, 3, 4}
    assert stats.chisquare(np.bincount(step, minlength=5)[1:]).pvalue > 0.001
    assert (draw(200, kind="natural").label == LABELS[draw(200, kind="natural").index]).all()


def test_the_coins_are_fair_and_know_nothing_of_label_or_source():
    many = [draw(200, seed) for seed in range(50)]
    included = np.concatenate([canaries.included for canaries in many])
    assert stats.binomtest(int(included.sum()), included.size).pvalue > 0.001
    for known in ("label", "index"):
        values = np.concatenate([getattr(canaries, known) for canaries in many])
        assert abs(np.corrcoef(values, included)[0, 1]) < 0.035
    coins = np.stack([canaries.included for canaries in many]).astype(float)
    pairs = np.corrcoef(coins.T)[np.triu_indices(200, 1)]
    assert abs(pairs.mean()) < 0.01


def test_the_seed_decides_and_the_kind_leaves_examples_and_coins_alone():
    first, again, natural, other = draw(), draw(), draw(kind="natural"), draw(seed=1)
    assert (first.index == again.index).all()
    assert (first.label == again.label).all()
    assert (first.index == natural.index).all()
    assert (first.included == natural.included).all()
    assert (first.included != other.included).any()


def test_what_is_trained_are_those_whose_coin_says_so():
    canaries = draw()
    index, label = canaries.trained
    assert index.tolist() == [at for at, coin in zip(canaries.index, canaries.included, strict=True) if coin]
    assert len(label) == canaries.included.sum()


def test_they_are_read_back_as_written(tmp_path):
    canaries = draw()
    canaries.write(tmp_path / "canaries.npz")
    back = read_canaries(tmp_path / "canaries.npz")
    assert all((getattr(back, name) == getattr(canaries, name)).all() for name in ("index", "label", "included"))
    assert back.kind == "mislabelled"


def test_damaged_canaries_are_refused_in_one_line(tmp_path):
    canaries = draw()
    whole = {"index": canaries.index, "label": canaries.label, "included": canaries.included, "kind": "natural"}
    for broken in ({"included": canaries.included[:-1]}, {"included": canaries.label}, {"kind": "odd"}):
        np.savez(tmp_path / "canaries.npz", **{**whole, **broken})
        with pytest.raises(UserError, match="is damaged") as error:
            read_canaries(tmp_path / "canaries.npz")
        assert "\n" not in str(error.value)


def test_guesses_of_a_hand_worked_case():
    """Called in: 9 (in), 8 (out). Called out: 1 (out), 2 (in), 3 (out). 5 is left alone."""
    scores = np.array([5.0, 9.0, 1.0, 8.0, 2.0, 3.0])
    included = np.array([True, True, False, False, True, False])
    found = guess(scores, included, 2, 3)
    assert (found.canaries, found.guesses, found.correct) == (6, 5, 3)
    assert guess(scores, included, 0, 0).guesses == 0
    assert guess(scores, included, 6, 0).correct == 3


def test_scores_alike_for_all_are_right_half_the_time_over_all_coins():
    """Ties are broken by place, so over all 2⁶ outcomes of the coins the mean is exactly half."""
    coins = [np.array(sides) for sides in itertools.product([False, True], repeat=6)]
    right = [guess(np.zeros(6), sides, 2, 2).correct for sides in coins]
    assert np.mean(right) == 2


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40), st.data())
def test_guesses_are_as_many_as_asked_and_a_monotone_scale_changes_nothing(pairs, data):
    scores = np.array([score for score, _ in pairs], dtype=float)
    included = np.array([coin for _, coin in pairs])
    called_in = data.draw(st.integers(0, len(pairs)))
    called_out = data.draw(st.integers(0, len(pairs) - called_in))
    found = guess(scores, included, called_in, called_out)
    assert found.guesses == called_in + called_out
    assert 0 <= found.correct <= found.guesses
    assert guess(np.exp(scores), included, called_in, called_out) == found


def test_a_perfect_score_is_right_until_it_must_guess_beyond_the_coins():
    included = np.arange(100) < 40
    scores = included.astype(float)
    assert guess(scores, included, 40, 60).correct == 100
    assert guess(scores, included, 50, 50).correct == 90


@pytest.mark.parametrize(("called_in", "called_out"), [(-1, 2), (2, 3), (5, 0)])
def test_impossible_calls_are_refused(called_in, called_out):
    with pytest.raises(ValueError, match="of 4 scores"):
        guess(np.arange(4.0), np.ones(4, dtype=bool), called_in, called_out)
    with pytest.raises(ValueError, match="NaN"):
        guess(np.array([np.nan, 1.0]), np.ones(2, dtype=bool), 1, 1)
