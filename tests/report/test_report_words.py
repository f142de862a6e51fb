"""Claims about how numbers, devices and verdicts are written."""

from collections.abc import Callable

import pytest

from safedeploy.report import words
from safedeploy.results import Evidence, Timing, TprAtFpr, Verdict


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

    assert f"TPR {evidence.worst.tpr[0].tpr * 100:.1f} % [" in sentence
    assert sentence.endswith("at 1 % FPR.")


def test_no_device_is_taken_for_another(make_timing: Callable[..., Timing]) -> None:
    assert words.device(make_timing("model.onnx")) == "this machine (Example CPU at 2.4 GHz)"
    assert words.place(make_timing("model.onnx", device="ssh:pi")) == "host pi over ssh"
    assert words.place(make_timing("model.onnx", device="adb:R58")) == "device R58 over adb"
    assert words.device(make_timing("model.onnx", device="qemu-arm64")) == "qemu-arm64, emulated on this machine"
