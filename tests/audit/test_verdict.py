"""Pass, fail, inconclusive, none: on figures made by hand, and how often each over many audits."""

import numpy as np
import pytest
from scipy import stats

from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit.judge import judge
from safedeploy.audit.verdict import decide
from safedeploy.results import BlindControl, EpsilonBound, NullBand, NullFigure, OwnCut, SampleCounts

ALIKE = BlindControl(auc=0.5, auc_low=0.47, auc_high=0.53, shifted=False)
SHIFTED = BlindControl(auc=0.8, auc_low=0.77, auc_high=0.83, shifted=True)


def test_without_a_budget_there_is_no_verdict_but_a_worst_attack(made):
    verdict = decide([made.attack_evidence("a", 0.6), made.attack_evidence("b", 0.7)], {}, ALIKE)
    assert (verdict.outcome, verdict.worst_attack) == ("none", "b")


@pytest.mark.parametrize(
    ("auc", "low", "high", "outcome"),
    [
        (0.52, 0.50, 0.54, "pass"),
        (0.52, 0.50, 0.60, "pass"),  # at the budget is within it
        (0.58, 0.55, 0.61, "inconclusive"),
        (0.60, 0.58, 0.62, "inconclusive"),
        (0.61, 0.58, 0.64, "inconclusive"),  # above the budget, but not shown to be
        (0.61, 0.605, 0.615, "fail"),
        (0.90, 0.88, 0.92, "fail"),
    ],
)
def test_an_auc_budget_of_060(made, auc, low, high, outcome):
    verdict = decide([made.attack_evidence("a", auc, low, high)], {"auc": 0.6}, ALIKE)
    assert verdict.outcome == outcome
    assert f"{auc:.4g}" in verdict.reason
    assert "0.6" in verdict.reason


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        ({"tpr": 0.012, "low": 0.01, "high": 0.018}, "pass"),
        ({"tpr": 0.015, "low": 0.01, "high": 0.025}, "inconclusive"),  # the interval reaches over
        ({"tpr": 0.05, "low": 0.04, "high": 0.07, "null_high": 0.02}, "fail"),
        ({"tpr": 0.025, "low": 0.02, "high": 0.03, "null_high": 0.03}, "inconclusive"),  # chance gives as much
        ({"tpr": 0.0, "low": 0.0, "high": 0.004, "resolvable": False}, "inconclusive"),  # too few to say so
        ({"tpr": 0.5, "low": 0.4, "high": 0.6, "resolvable": False}, "fail"),  # few, and yet plain
    ],
)
def test_a_rate_budget_of_two_percent(made, figures, outcome):
    evidence = made.attack_evidence(tpr=[made.rate(0.01, **figures)])
    verdict = decide([evidence], {"tpr@0.01": 0.02}, ALIKE)
    assert verdict.outcome == outcome
    assert "tpr@0.01" in verdict.reason


def test_too_few_samples_are_given_as_the_reason(made):
    evidence = made.attack_evidence(tpr=[made.rate(0.001, resolvable=False)])
    assert "too few non-members to resolve" in decide([evidence], {"tpr@0.001": 0.02}, ALIKE).reason


def test_the_worst_attack_decides(made):
    attacks = [
        made.attack_evidence("quiet", 0.51, 0.49, 0.53),
        made.attack_evidence("loud", 0.7, 0.68, 0.72),
        made.attack_evidence("unsure", 0.59, 0.55, 0.63),
    ]
    verdict = decide(attacks, {"auc": 0.6}, ALIKE)
    assert (verdict.outcome, verdict.worst_attack) == ("fail", "loud")
    verdict = decide([attacks[0], attacks[2]], {"auc": 0.6}, ALIKE)
    assert (verdict.outcome, verdict.worst_attack) == ("inconclusive", "unsure")


def test_every_budget_must_hold(made):
    evidence = made.attack_evidence("a", 0.5, 0.48, 0.52, [made.rate(0.01, tpr=0.3, low=0.2, high=0.4)])
    verdict = decide([evidence], {"auc": 0.6, "tpr@0.01": 0.02}, ALIKE)
    assert verdict.outcome == "fail"
    assert "tpr@0.01" in verdict.reason


def test_the_same_rate_written_otherwise_is_found(made):
    evidence = made.attack_evidence(tpr=[made.rate(0.01), made.rate(0.05, tpr=0.06, low=0.04, high=0.08)])
    assert "tpr@.05" in decide([evidence], {"tpr@.05": 0.9}, ALIKE).reason


@pytest.mark.parametrize(("auc", "low", "high"), [(0.5, 0.48, 0.52), (0.9, 0.88, 0.92)])
def test_sets_that_differ_forbid_an_answer(made, auc, low, high):
    verdict = decide([made.attack_evidence("a", auc, low, high)], {"auc": 0.6}, SHIFTED)
    assert verdict.outcome == "inconclusive"
    assert "differ in distribution" in verdict.reason
    assert "0.800" in verdict.reason


def test_a_verdict_names_its_budget(made):
    assert decide([made.attack_evidence()], {"auc": 0.6}, None).budget == {"auc": 0.6}


# --- corrected for the number of attacks, and against what chance gives the best of them ---

SAMPLES = SampleCounts(members=1000, nonmembers=2000)


def band(high):
    """What the best of twenty attacks reaches at 1 % FPR where nothing leaks."""
    figure = NullFigure(figure="tpr@0.01", mean=high / 2, high=high)
    return NullBand(attacks=20, draws=1000, figures=[figure])


def test_the_bounds_that_hold_for_all_attacks_decide(made):
    """Its own interval lies above the budget; the one that counts twenty attacks does not."""
    evidence = made.attack_evidence("a", 0.62, 0.61, 0.63)
    assert decide([evidence], {"auc": 0.6}, ALIKE).outcome == "fail"
    among_many = evidence.model_copy(update={"auc_joint_low": 0.59, "auc_joint_high": 0.65})
    assert decide([among_many], {"auc": 0.6}, ALIKE).outcome == "inconclusive"
    within = evidence.model_copy(update={"auc_joint_low": 0.57, "auc_joint_high": 0.67})
    assert decide([within], {"auc": 0.65}, ALIKE).outcome == "inconclusive"


def test_a_rate_s_bounds_that_hold_for_all_attacks_decide(made):
    rate = made.rate(0.01, tpr=0.05, low=0.04, high=0.07).model_copy(update={"joint_low": 0.015, "joint_high": 0.1})
    assert decide([made.attack_evidence(tpr=[rate])], {"tpr@0.01": 0.02}, ALIKE).outcome == "inconclusive"


def test_what_the_best_of_many_reaches_by_chance_is_no_leak(made):
    """Above its budget, and yet the best of twenty attacks gets as far on a model that leaks nothing."""
    evidence = made.attack_evidence(tpr=[made.rate(0.01, tpr=0.03, low=0.025, high=0.04)])
    verdict = decide([evidence], {"tpr@0.01": 0.02}, ALIKE, null=band(0.035))
    assert verdict.outcome == "inconclusive"
    assert "chance alone gives the best of these attacks 0.035" in verdict.reason
    assert decide([evidence], {"tpr@0.01": 0.02}, ALIKE, null=band(0.028)).outcome == "fail"


def test_an_undecided_figure_says_how_many_samples_would_decide(made):
    """0.58 [0.55, 0.61] against 0.60: the upper half must shrink from 0.03 to 0.02, so 2.25 times as many."""
    evidence = made.attack_evidence("a", 0.58, 0.55, 0.61)
    verdict = decide([evidence], {"auc": 0.6}, ALIKE, samples=SAMPLES)
    assert (verdict.needed.members, verdict.needed.nonmembers) == (2300, 4500)
    assert "about 2,300 members and 4,500 non-members judged would decide" in verdict.reason
    above = decide([made.attack_evidence("a", 0.63, 0.57, 0.69)], {"auc": 0.6}, ALIKE, samples=SAMPLES)
    assert (above.needed.members, above.needed.nonmembers) == (4000, 8000)


def test_a_rate_needs_five_expected_false_positives_too(made):
    evidence = made.attack_evidence(tpr=[made.rate(0.0001, tpr=0.0, low=0.0, high=0.005, resolvable=False)])
    verdict = decide([evidence], {"tpr@0.0001": 0.01}, ALIKE, samples=SAMPLES)
    assert (verdict.needed.members, verdict.needed.nonmembers) == (1000, 50_000)


def test_a_figure_on_its_budget_is_never_decided_by_more_samples(made):
    verdict = decide([made.attack_evidence("a", 0.6, 0.58, 0.62)], {"auc": 0.6}, ALIKE, samples=SAMPLES)
    assert verdict.outcome == "inconclusive"
    assert verdict.needed is None
    assert "would decide" not in verdict.reason


@pytest.mark.parametrize("outcome", ["pass", "fail"])
def test_a_decided_verdict_asks_for_no_samples(made, outcome):
    figures = (0.52, 0.5, 0.54) if outcome == "pass" else (0.7, 0.68, 0.72)
    verdict = decide([made.attack_evidence("a", *figures)], {"auc": 0.6}, ALIKE, samples=SAMPLES)
    assert (verdict.outcome, verdict.needed) == (outcome, None)


@pytest.mark.parametrize(
    ("advantage", "low", "high", "outcome"),
    [(0.02, -0.02, 0.06, "pass"), (0.08, 0.04, 0.12, "inconclusive"), (0.3, 0.2, 0.4, "fail")],
)
def test_a_budget_on_the_advantage_at_the_attackers_own_cut(made, advantage, low, high, outcome):
    cut = OwnCut(
        true_positives=60,
        false_positives=30,
        advantage=advantage,
        low=low,
        high=high,
        joint_low=low,
        joint_high=high,
        ratio_low=1.0,
    )
    evidence = made.attack_evidence().model_copy(update={"own_cut": cut})
    verdict = decide([evidence], {"advantage": 0.1}, ALIKE)
    assert verdict.outcome == outcome
    assert "60 members and 30 non-members above its own cut" in verdict.reason


@pytest.mark.parametrize(
    ("shown", "most", "outcome"),
    [(2.0, 5.0, "fail"), (0.4, 5.0, "pass"), (0.4, 0.9, "inconclusive")],  # the last could not have shown more than 1
)
def test_a_budget_on_epsilon_is_of_what_was_shown(made, shown, most, outcome):
    bound = EpsilonBound(
        low=shown + 0.1, joint_low=shown, most=most, delta=1e-5, confidence=0.95, guesses=100, correct=90
    )
    evidence = made.attack_evidence().model_copy(update={"epsilon": bound})
    verdict = decide([evidence], {"epsilon": 1.0}, ALIKE, samples=SAMPLES)
    assert verdict.outcome == outcome
    assert f"at least {shown:g}" in verdict.reason
    assert f"{most:g}" in verdict.reason


# --- the whole rule on scores, over many audits ---


def audit_of(made, rows, seed):
    exam = made.exam(len(rows[0]) // 2, seed)
    scores = {Attack(f"attack {n}", "black", "no:where"): Scores(row, 0.0) for n, row in enumerate(rows)}
    return judge(scores, exam, [0.1, 0.01])


def looks(seed, shift=0.0, size=200, attacks=8, alike=0.8):
    """Attacks that look at one loss, each with noise of its own; members `shift` standard deviations higher."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=2 * size)
    rows = alike * common + np.sqrt(1 - alike**2) * draw.normal(size=(attacks, 2 * size))
    rows[:, :size] += shift
    return rows


def outcomes(made, budgets, audits, **options):
    """For each budget the outcome of every audit."""
    found = [[] for _ in budgets]
    for seed in range(audits):
        evidence, null = audit_of(made, looks(seed, **options), seed)
        for seen, budget in zip(found, budgets, strict=True):
            seen.append(decide(evidence, budget, ALIKE, null=null).outcome)
    return found


@pytest.mark.slow
def test_a_model_at_its_budget_fails_by_bad_luck_in_at_most_five_audits_of_a_hundred(made):
    """Every attack's true AUC and rate lie on the budget: the hardest case. One-sided, 2.5 % are nominal."""
    audits, shift = 120, 0.36
    auc = float(stats.norm.cdf(shift / np.sqrt(2)))
    rate = float(stats.norm.sf(stats.norm.isf(0.1) - shift))
    for found in outcomes(made, [{"auc": auc}, {"tpr@0.1": rate}], audits, shift=shift):
        allowed = stats.binom.ppf(0.999, audits, 0.025)
        assert found.count("fail") <= allowed
        assert found.count("pass") <= allowed


def test_a_model_that_leaks_nothing_does_not_fail(made):
    [found] = outcomes(made, [{"auc": 0.5, "tpr@0.01": 0.01}], 20)
    assert found.count("fail") <= 3  # both budgets at chance: nominal 2.5 % each


@pytest.mark.parametrize("budget", [{"auc": 0.6}, {"tpr@0.01": 0.05}, {"tpr@0.1": 0.2}])
def test_a_large_leak_fails_on_few_samples(made, budget):
    assert outcomes(made, [budget], 3, shift=2.0, size=60) == [["fail"] * 3]


def test_a_model_far_within_its_budget_passes(made):
    assert outcomes(made, [{"auc": 0.7, "tpr@0.1": 0.4}], 3) == [["pass"] * 3]
