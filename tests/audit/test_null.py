"""The joint null of an audit's attacks, against the exact law of one attack and against a slow, plain simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from safedeploy import roc
from safedeploy.audit import ranking as ranking_module
from safedeploy.audit.null import p_value, permute
from safedeploy.audit.ranking import chunks, rank, true_positives

MEMBERS, NONMEMBERS = 300, 400


def normal_scores(attacks, seed=0, alike=0.0):
    draw = np.random.default_rng(seed)
    common = draw.normal(size=MEMBERS + NONMEMBERS)
    return alike * common + np.sqrt(1 - alike**2) * draw.normal(size=(attacks, MEMBERS + NONMEMBERS))


def test_one_attacks_null_rates_are_beta_binomial():
    """With k false positives allowed of n, the members above are beta-binomial (m, k + 1, n − k)."""
    for fpr in (0.1, 0.01):
        null = permute(normal_scores(1), MEMBERS, [fpr], seed=1, draws=6000).tpr[fpr][0]
        counts = np.round(null * MEMBERS).astype(int)
        law = stats.betabinom(MEMBERS, round(fpr * NONMEMBERS) + 1, NONMEMBERS - round(fpr * NONMEMBERS))
        places = np.unique(law.ppf(np.linspace(0.02, 0.98, 13)).astype(int))
        empirical = np.array([(counts <= place).mean() for place in places])
        np.testing.assert_allclose(empirical, law.cdf(places), atol=0.025)  # four standard errors


def test_one_attacks_null_auc_is_wilcoxons():
    """Mean ½ and variance (m + n + 1) / (12 m n) without ties (Mann & Whitney 1947)."""
    null = permute(normal_scores(1), MEMBERS, [], seed=2, draws=4000).auc[0]
    spread = np.sqrt((MEMBERS + NONMEMBERS + 1) / (12 * MEMBERS * NONMEMBERS))
    assert null.mean() == pytest.approx(0.5, abs=4 * spread / np.sqrt(4000))
    assert null.std() == pytest.approx(spread, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([(0.5,), (0.1, 0.0), (0.9, 0.3, 0.05)]))
def test_every_draw_is_the_roc_of_its_labels_ties_included(seed, levels, fprs):
    """Each column of a draw against the figures computed one by one."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(levels, size=60).astype(float) if seed % 2 else draw.normal(size=60)
    inside = np.zeros((60, 5), dtype=np.uint8)
    for column in inside.T:
        column[draw.choice(60, size=25, replace=False)] = 1
    allowed = [int(fpr * 35 + 1e-9) for fpr in fprs]
    found = true_positives(rank(scores), inside, 1 - inside, allowed)
    for column, labels in enumerate(inside.T.astype(bool)):
        for row, fpr in enumerate(fprs):
            assert found[row, column] == roc.tpr_at_fpr(scores[labels], scores[~labels], fpr).true_positives


def test_infinite_scores_tie_with_each_other():
    scores = np.r_[np.full(10, np.inf), np.zeros(5), np.full(10, -np.inf)]
    inside = np.zeros((25, 1), dtype=np.uint8)
    inside[[0, 1, 2, 3, 10, 11, 20]] = 1
    labels = inside[:, 0].astype(bool)
    for fpr in (0.1, 0.4):
        expected = roc.tpr_at_fpr(scores[labels], scores[~labels], fpr).true_positives
        assert true_positives(rank(scores), inside, 1 - inside, [int(fpr * 18)])[0, 0] == expected


def test_the_same_draw_serves_every_attack():
    """Two copies of one attack have one null; an attack turned round has the mirrored AUC in every draw."""
    scores = normal_scores(1)
    null = permute(np.concatenate([scores, scores, -scores]), MEMBERS, [0.1], seed=0, draws=200)
    np.testing.assert_array_equal(null.auc[0], null.auc[1])
    np.testing.assert_array_equal(null.tpr[0.1][0], null.tpr[0.1][1])
    np.testing.assert_allclose(null.auc[2], 1 - null.auc[0], atol=1e-12)


def test_the_band_is_of_the_best_attack_and_grows_with_their_number():
    one, many, alike = (
        permute(scores, MEMBERS, [0.01], seed=0, draws=800).band()
        for scores in (normal_scores(1), normal_scores(15), normal_scores(15, alike=0.999))
    )
    assert [figure.figure for figure in many.figures] == ["auc", "tpr@0.01"]
    assert (many.attacks, many.draws) == (15, 800)
    for single, best, copies in zip(one.figures, many.figures, alike.figures, strict=True):
        assert single.high < best.high
        assert copies.high < best.high  # fifteen attacks that are nearly one are nearly one
        assert best.mean < best.high


def test_the_band_of_one_attack_is_the_exact_null_high():
    scores = normal_scores(1)[0]
    band = permute(scores[None], MEMBERS, [0.05], seed=0, draws=4000).band()
    exact = roc.tpr_at_fpr(scores[:MEMBERS], scores[MEMBERS:], 0.05).null_high
    assert band.figures[1].high == pytest.approx(exact, abs=2 / MEMBERS)


def test_p_values_of_no_leak_are_uniform_and_of_a_leak_small():
    values = []
    for seed in range(200):
        scores = np.random.default_rng(seed).normal(size=120)
        null = permute(scores[None], 60, [], seed=seed, draws=99)
        values.append(p_value(null.auc[0], roc.auc(scores[:60], scores[60:])))
    assert 0.02 <= np.mean(np.array(values) <= 0.05) <= 0.1
    assert stats.kstest(values, "uniform").pvalue > 0.001
    assert p_value(np.linspace(0.4, 0.6, 99), 0.9) == 0.01  # one of a hundred: the figure itself


def test_memory_is_bounded_and_the_parts_make_the_whole(monkeypatch):
    assert sum(chunks(100_000, 1000)) == 1000
    assert max(chunks(100_000, 1000)) * 100_000 <= ranking_module.CELLS
    assert chunks(10**9, 3) == [1, 1, 1]
    whole = permute(normal_scores(2), MEMBERS, [0.1], seed=5, draws=64)
    monkeypatch.setattr(ranking_module, "CELLS", 7 * (MEMBERS + NONMEMBERS))
    parts = permute(normal_scores(2), MEMBERS, [0.1], seed=5, draws=64)
    np.testing.assert_array_equal(whole.auc, parts.auc)
    np.testing.assert_array_equal(whole.tpr[0.1], parts.tpr[0.1])


def test_the_null_is_the_seeds_own():
    first, again, other = (permute(normal_scores(1), MEMBERS, [0.1], seed, 50) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.auc, again.auc)
    assert (first.auc != other.auc).any()
