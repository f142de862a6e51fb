"""Claims about the controls in words: each carries its figure, and a weak one warns."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from safedeploy.report.contents import Contents
from safedeploy.report.controls import explain
from safedeploy.results import BlindControl, CanaryEvidence, Controls, EpsilonBound, Evidence, SameControl

if TYPE_CHECKING:
    from safedeploy.auditing import Audits

SAME, REFERENCES = 3, 4


def test_each_control_shows_its_own_figure(contents: Contents) -> None:
    evidence, dense = contents.shipped.evidence["model.onnx"], contents.dense_audit("model.onnx")
    assert evidence.controls.blind is not None
    assert dense is not None

    correctness, blind, beside, *_ = explain(evidence, dense)

    assert correctness.figure.startswith(f"{evidence.controls.correctness.attack_accuracy * 100:.1f}")
    assert f"{evidence.controls.blind.auc:.3f}" in blind.figure
    assert f"{max(attack.auc for attack in dense.attacks):.3f}" in beside.figure
    assert not any(control.warning for control in (correctness, blind, beside))


def test_sets_that_differ_by_themselves_are_a_warning(contents: Contents) -> None:
    evidence = contents.shipped.evidence["model.onnx"]
    shifted = BlindControl(auc=0.8, auc_low=0.78, auc_high=0.82, shifted=True)
    controls = evidence.controls.model_copy(update={"blind": shifted})

    blind = explain(evidence.model_copy(update={"controls": controls}), None)[1]

    assert blind.warning
    assert "differ by themselves" in blind.text


def test_a_missing_control_gives_its_reason_and_no_figure(make_evidence: Callable[..., Evidence]) -> None:
    dense = explain(make_evidence("model.onnx"), None)[2]

    assert dense.warning
    assert dense.figure == ""
    assert "the run has no dense control" in dense.text


def test_compression_is_said_to_help_only_where_the_intervals_part(make_evidence: Callable[..., Evidence]) -> None:
    low, high = make_evidence("model.onnx", leak=0.05), make_evidence("model.onnx", leak=1.0, dense=True)

    assert "leaks less" in explain(low, high)[2].text
    assert "leaks more" in explain(high, low)[2].text
    assert "does not show that compression changed" in explain(low, low)[2].text


def test_an_attack_no_better_than_correctness_is_not_called_a_leak(make_evidence: Callable[..., Evidence]) -> None:
    assert "nothing beyond this gap" in explain(make_evidence("model.onnx", leak=0.0), None)[0].text
    assert "gives away more than this gap" in explain(make_evidence("model.onnx", leak=2.0), None)[0].text


def test_the_false_alarms_of_the_a_a_control_stand_beside_their_due(audits: "Audits") -> None:
    same = audits.evidence[0].controls.same
    assert same is not None

    control = explain(audits.evidence[0], None)[SAME]

    assert control.figure == f"{same.alarms} of {same.splits} false alarms"
    assert control.warning is not same.calibrated


def test_intervals_that_alarm_too_often_are_a_warning(audits: "Audits") -> None:
    same = SameControl(splits=200, alarms=60, rate=0.3, low=0.22, high=0.39, nominal=0.05, calibrated=False, attacks=[])
    controls = audits.evidence[0].controls.model_copy(update={"same": same})

    control = explain(audits.evidence[0].model_copy(update={"controls": controls}), None)[SAME]

    assert control.warning
    assert "Not calibrated" in control.text


def test_an_attack_that_gains_by_references_warns_that_more_may_find_more(audits: "Audits") -> None:
    few, many = audits.evidence[0].controls.references

    control = explain(audits.evidence[0], None)[REFERENCES]

    assert control.figure == f"AUC {few.auc:.3f} with 2, {many.auc:.3f} with 16"
    assert control.warning
    assert "more may find more" in control.text


def test_an_attack_that_gains_nothing_by_references_does_not_warn(audits: "Audits") -> None:
    one = audits.evidence[0]
    few = one.controls.references[0]
    same = [few, few.model_copy(update={"references": 16})]
    controls: Controls = one.controls.model_copy(update={"references": same})

    control = explain(one.model_copy(update={"controls": controls}), None)[REFERENCES]

    assert not control.warning
    assert "does not show that more of them find more" in control.text


def test_an_audit_without_references_says_that_stronger_attacks_exist(audits: "Audits") -> None:
    control = explain(audits.evidence[1], None)[REFERENCES]

    assert control.warning
    assert control.figure == ""
    assert "no attack had reference models" in control.text


def test_canaries_are_told_where_there_are_any(make_evidence: Callable[..., Evidence]) -> None:
    bound = EpsilonBound(low=1.25, joint_low=1.25, most=4.0, delta=1e-5, confidence=0.95, guesses=100, correct=88)
    canaries = CanaryEvidence(
        canaries=1000, included=490, kind="mislabelled", auc=0.8, auc_low=0.77, auc_high=0.83, epsilon=bound
    )
    plain = make_evidence("model.onnx")
    assert "Canaries" not in [control.name for control in explain(plain, None)]
    told = explain(plain.model_copy(update={"canaries": canaries}), None)[-1]
    assert (told.name, told.figure) == ("Canaries", "ε ≥ 1.25")
    assert "490 of 1,000 mislabelled examples" in told.text
    assert "not (1.25, 1e-05)-differentially private" in told.text
