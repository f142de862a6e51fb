"""A column that was withheld from the model, as reports tell of it."""

import pytest

from safedeploy.report.audit_html import audit_html
from safedeploy.report.inference import attribute_markdown, attribute_sentences, attribute_table
from safedeploy.report.markdown import evidence_markdown
from safedeploy.results import (
    AttributeAdvantage,
    AttributeAttackEvidence,
    AttributeEvidence,
    AttributeFigures,
    AttributeSide,
    SampleCounts,
)


def figures(auc):
    return AttributeFigures(
        accuracy=0.7,
        accuracy_low=0.6,
        accuracy_high=0.8,
        auc=auc,
        auc_low=auc - 0.05,
        auc_high=auc + 0.05,
        per_value=[],
    )


def advantage(value):
    return AttributeAdvantage(value=value, low=value - 0.02, high=value + 0.02)


def attack(name, over, added, finding, access="black"):
    side = AttributeSide(
        figures=figures(0.8),
        auc_advantage=advantage(added),
        accuracy_advantage=advantage(added),
        gained=3,
        lost=2,
        mcnemar_p=1.0,
    )
    return AttributeAttackEvidence(
        name=name,
        labels_only=False,
        access=access,
        over=over,
        members=side,
        nonmembers=side,
        memorised_auc=advantage(0.0),
        memorised_accuracy=advantage(0.0),
        finding=finding,
    )


def evidence(added=0.1, **changes):
    counts = SampleCounts(members=100, nonmembers=90)
    held = {
        "column": "sex",
        "columns": [],
        "withheld": True,
        "values": ["<female>", "male"],
        "samples": counts,
        "known": counts,
        "unseen": SampleCounts(members=0, nonmembers=0),
        "imputation_members": figures(0.86),
        "imputation_nonmembers": figures(0.84),
        "label_members": figures(0.68),
        "label_nonmembers": figures(0.63),
        "commonest": [0.6, 0.6],
        "attacks": [
            attack("attribute-outputs", "label", added, "general"),
            attack("attribute-features-inputs", "inputs", -0.01, "nothing", "white"),
        ],
        "not_run": {"attribute-features": "the format hides its weights"},
        "finding": "nothing",
    }
    return AttributeEvidence.model_validate(held | changes)


def test_what_is_held_against_what_is_said_and_tabulated():
    said = " ".join(attribute_sentences(evidence()))
    assert said.startswith("To one who holds the inputs: the file adds nothing")
    assert "without the file, AUC: members 0.860 [0.810, 0.910]; non-members 0.840" in said
    assert "From the label alone: members 0.680" in said
    assert "attribute-features did not run: the format hides its weights." in said
    table = attribute_table(evidence(), evidence(0.3))
    assert table.heads[1] == "Attacker holds"
    assert [str(cell) for cell in table.rows[0]] == [
        "attribute-outputs",
        "answers, label",
        "0.800 [0.750, 0.850]",
        "+0.100 [+0.080, +0.120]",
        "+0.100 [+0.080, +0.120]",
        "general",
        "+0.300 [+0.280, +0.320]",
    ]
    assert str(table.rows[1][1]) == "inner features, inputs, label"


def test_a_column_of_the_input_is_told_as_before():
    told = attribute_markdown(evidence(withheld=False, columns=[3], label_members=None, label_nonmembers=None))
    assert "Attacker holds" not in told
    assert "Guessed from the other columns and the label alone" in told


@pytest.mark.parametrize("page", [False, True])
def test_an_audit_has_it_between_the_attacks_and_the_controls(contents, page):
    audit = next(iter(contents.shipped.evidence.values())).model_copy(update={"attribute": evidence()})
    told = audit_html([audit], []) if page else evidence_markdown(audit)
    assert "attribute-outputs" in told
    assert "<female>" not in told.replace("\\<female>", "")
    without = audit.model_copy(update={"attribute": None})
    assert "attribute-outputs" not in (audit_html([without], []) if page else evidence_markdown(without))
