"""Claims about how numbers, devices and verdicts are written."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from safedeploy.report import words
from safedeploy.results import Evidence, SampleCounts, Timing, TprAtFpr, Verdict

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (1000, "1.00 kB"),
        (9_996, "10.0 kB"),
        (45_240, "45.2 kB"),
        (178_432, "178 kB"),
        (1_304_000, "1.30 MB"),
    ],
)
def test_sizes_have_three_digits_and_decimal_units(count: int, text: str) -> None:
    assert words.size(count) == text.replace(" ", words.NBSP)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0000134, "0.0000134"), (0.0123, "0.0123"), (1.234, "1.23"), (99.96, "100"), (1234.5, "1,234")],
)
def test_three_digits_never_come_in_exponent_form(value: float, text: str) -> None:
    assert words.three(value) == text


@pytest.mark.parametrize(("value", "text"), [(9.96, "9.96 s"), (59.6, "1 min 0 s"), (312.4, "5 min 12 s")])
def test_seconds_carry_into_minutes(value: float, text: str) -> None:
    assert words.seconds(value) == text.replace(" ", words.NBSP)


def test_budgets_are_said_in_words() -> None:
    verdict = Verdict(outcome="pass", budget={"auc": 0.6, "tpr@0.001": 0.01}, worst_attack="loss", reason="")

    assert words.budget(verdict).replace(words.NBSP, " ") == "AUC at most 0.60; TPR at 0.1 % FPR at most 1.0 %"


def test_budgets_on_advantage_and_epsilon_are_named_as_in_the_literature() -> None:
    verdict = Verdict(outcome="pass", budget={"advantage": 0.1, "epsilon": 3}, worst_attack="loss", reason="")

    assert words.budget(verdict) == "advantage (TPR \u2212 FPR) at most 0.10; lower bound on \u03b5 at most 3.00"


def test_a_rate_on_too_few_non_members_is_not_given() -> None:
    point = TprAtFpr(
        fpr=0.001,
        tpr=0.02,
        low=0.01,
        high=0.03,
        realised_fpr=0.001,
        true_positives=20,
        false_positives=1,
        null_high=0.005,
        resolvable=False,
    )

    assert words.true_positive_rate(point) == "not resolvable"
    assert words.chance(point).replace(words.NBSP, " ") == "above chance, which reaches 0.5 %"


@pytest.mark.parametrize(
    ("budget", "opening"),
    [
        ({}, "No privacy budget was given for model.onnx; the strongest attack tried, "),
        ({"auc": 0.9}, "model.onnx stays within its privacy budget: "),
        ({"auc": 0.5}, "model.onnx exceeds its privacy budget: "),
    ],
)
def test_a_verdict_is_one_sentence_with_the_attack_and_its_interval(
    make_evidence: Callable[..., Evidence], budget: dict[str, float], opening: str
) -> None:
    evidence = make_evidence("model.onnx", leak=0.4, budget=budget)
    worst = evidence.worst

    sentence = words.verdict_sentence(evidence, "model.onnx")

    assert sentence.startswith(opening)
    assert sentence.endswith(
        f"{worst.name} (white box), reaches AUC {worst.auc:.3f} [{worst.auc_low:.3f}, {worst.auc_high:.3f}]."
    )


def test_a_budget_that_the_interval_straddles_is_not_decided(make_evidence: Callable[..., Evidence]) -> None:
    limit = make_evidence("model.onnx").worst.auc

    evidence = make_evidence("model.onnx", budget={"auc": limit})

    assert words.verdict_sentence(evidence, "model.onnx").startswith("This audit cannot decide whether model.onnx")


def test_a_budget_on_a_rate_puts_that_rate_in_the_sentence(make_evidence: Callable[..., Evidence]) -> None:
    evidence = make_evidence("model.onnx", budget={"auc": 0.9})
    verdict = evidence.verdict.model_copy(update={"budget": {"tpr@0.01": 0.2}})

    sentence = words.verdict_sentence(evidence.model_copy(update={"verdict": verdict}), "model.onnx").replace(
        words.NBSP, " "
    )

    assert "AUC" not in sentence

    assert f"TPR {evidence.worst.tpr[0].tpr * 100:.1f} % [" in sentence
    assert sentence.endswith("at 1 % FPR.")


def test_no_device_is_taken_for_another(make_timing: Callable[..., Timing]) -> None:
    assert words.device(make_timing("model.onnx")) == "this machine (Example CPU at 2.4 GHz)"
    assert words.place(make_timing("model.onnx", device="ssh:pi")) == "host pi over ssh"
    assert words.place(make_timing("model.onnx", device="adb:R58")) == "device R58 over adb"
    assert words.device(make_timing("model.onnx", device="qemu-arm64")) == "qemu-arm64, emulated on this machine"


def test_the_sentence_gives_every_figure_of_the_budget_with_the_interval_the_verdict_reads(audits: "Audits") -> None:
    evidence = audits.evidence[0]
    worst = evidence.worst
    assert worst.own_cut is not None
    assert worst.epsilon is not None

    sentence = words.verdict_sentence(evidence, "model.onnx")

    assert f"AUC {worst.auc:.3f} [{worst.auc_joint_low:.3f}, {worst.auc_joint_high:.3f}]" in sentence
    assert f"advantage {worst.own_cut.advantage:.3f} [{worst.own_cut.joint_low:.3f}, " in sentence
    assert f"\u03b5 \u2265 {worst.epsilon.joint_low:.2f}" in sentence
    assert f"at {words.rate(0.1)} FPR" in sentence


@pytest.mark.parametrize(
    ("outcome", "opening"),
    [
        ("fail", "Do not ship this file"),
        ("inconclusive", "Do not read this as a pass"),
        ("pass", "As far as these attacks can tell, the file may ship."),
        ("none", "Set a limit, as in --budget"),
    ],
)
def test_every_outcome_says_what_to_do(audits: "Audits", outcome: str, opening: str) -> None:
    evidence = audits.evidence[0]
    verdict = evidence.verdict.model_copy(update={"outcome": outcome})

    assert words.advice(evidence.model_copy(update={"verdict": verdict})).startswith(opening)


def test_an_undecided_audit_says_how_many_samples_would_decide(audits: "Audits") -> None:
    evidence = audits.evidence[0]
    needed = {"outcome": "inconclusive", "needed": SampleCounts(members=7400, nonmembers=800)}
    verdict = evidence.verdict.model_copy(update=needed)

    advice = words.advice(evidence.model_copy(update={"verdict": verdict}))

    assert "7,400 members and 800 non-members" in advice


def test_sets_that_differ_by_themselves_are_to_be_drawn_again(audits: "Audits") -> None:
    evidence = audits.evidence[0]
    assert evidence.controls.blind is not None
    blind = evidence.controls.blind.model_copy(update={"shifted": True})
    controls = evidence.controls.model_copy(update={"blind": blind})
    verdict = evidence.verdict.model_copy(update={"outcome": "inconclusive"})

    advice = words.advice(evidence.model_copy(update={"controls": controls, "verdict": verdict}))

    assert advice.startswith("Draw members and non-members from one source")


@pytest.mark.parametrize(("p", "text"), [(0.0, "p < 0.001"), (0.000999, "p < 0.001"), (0.032, "p = 0.032")])
def test_a_p_value_is_not_called_zero(p: float, text: str) -> None:
    assert words.probability(p) == text


def test_no_difference_has_no_minus() -> None:
    assert words.signed(-0.0001) == "+0.000"
    assert words.signed(-0.1, 1) == "\u22120.1"
