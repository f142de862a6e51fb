"""Claims about the controls in words: each carries its figure, and a weak one warns."""

from collections.abc import Callable

from safedeploy.report.contents import Contents
from safedeploy.report.controls import explain
from safedeploy.results import BlindControl, Evidence


def test_each_control_shows_its_own_figure(contents: Contents) -> None:
    evidence, dense = contents.shipped.evidence["model.onnx"], contents.dense_audit("model.onnx")
    assert evidence.controls.blind is not None
    assert dense is not None

    correctness, blind, beside = explain(evidence, dense)

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
