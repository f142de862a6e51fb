"""Pass, fail, inconclusive, none: each on figures made by hand."""

import pytest

from safedeploy.audit.verdict import decide
from safedeploy.results import BlindControl

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
