"""The checks of a bundle on the page: what passed, what failed and what could not be made, from the result file."""

from dataclasses import replace

from safedeploy.report.checks import checks_sentence, checks_table
from safedeploy.report.html import render_html
from safedeploy.results import (
    Answers,
    BatchAnswers,
    ExtremeAnswers,
    FileVerification,
    Outcome,
    Saturation,
    Verification,
)

ANSWERS = Answers(
    samples=600,
    max_logit_difference=0.01,
    mean_logit_difference=0.001,
    top1_agreement=0.99,
    accuracy=0.87,
    accuracy_low=0.84,
    accuracy_high=0.895,
    torch_accuracy=0.88,
    torch_accuracy_low=0.852,
    torch_accuracy_high=0.905,
)


def verification(*outcomes, not_checked=()):
    file = FileVerification(
        name="model.int8.onnx",
        passed=all(one.passed is not False for one in outcomes),
        outcomes=list(outcomes),
        answers=ANSWERS,
        batches=[BatchAnswers(size=1, max_logit_difference=0.002), BatchAnswers(size=7, max_logit_difference=0.004)],
        extremes=[
            ExtremeAnswers(input="zeros", answers="finite"),
            ExtremeAnswers(input="NaN", answers="not finite"),
            ExtremeAnswers(input="huge", answers="finite"),
        ],
        saturation=Saturation(
            samples=600, tensors=9, activations=0.0004, worst="relu3", worst_share=0.002, logits=None
        ),
    )
    return Verification(
        bundle="runs/one/bundle/android",
        target="android",
        model="lenet5",
        passed=file.passed,
        samples=600,
        inputs="validation",
        outcomes=[],
        files=[file],
        not_checked=list(not_checked),
        versions={},
    )


FINE = Outcome(check="logits", passed=True, detail="0.01")
BROKEN = Outcome(check="hash", passed=False, detail="the file is not what the manifest names")
OPEN = Outcome(check="batches", passed=None, detail="batch 1 alone")


def test_a_file_has_its_counts_intervals_and_worst_tensor():
    (row,) = checks_table(verification(FINE, BROKEN, OPEN)).rows
    told = [f"{cell} {cell.note}" for cell in row]
    assert "1 of 2 passed" in told[1]
    assert "failed: hash" in told[1]
    assert "[84.0, 89.5]" in told[2]
    assert "[85.2, 90.5]" in told[3]
    assert "0.00400" in told[4].replace("0.004 ", "0.00400 ")
    assert told[5].startswith("2 finite, 1 not finite")
    assert "relu3" in told[6]


def test_what_was_not_checked_is_said_and_shown_as_unknown():
    bare = FileVerification(name="model.pte", passed=True, outcomes=[FINE])
    found = verification(FINE, not_checked=["model.pte: ExecuTorch is not installed"])
    (row,) = checks_table(found.model_copy(update={"files": [bare]})).rows
    assert [cell.known for cell in row] == [True, True, False, False, False, False, False]
    assert "ExecuTorch is not installed" in checks_sentence(found)


def test_a_failure_comes_first():
    assert "Failed: model.int8.onnx: hash: the file is not what the manifest names." in checks_sentence(
        verification(FINE, BROKEN)
    )


def test_the_page_has_the_checks_of_every_model_that_has_some(contents):
    checked = replace(contents, models=(replace(contents.shipped, verification=verification(FINE)),))
    assert "Checked: " + contents.shipped.label in render_html(checked)
    assert "Checked: " not in render_html(contents)
