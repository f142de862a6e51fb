"""Claims about the tables of evidence: every figure of every attack is in one of them, and none says too much."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from safedeploy.report import words
from safedeploy.report.evidence_tables import (
    Table,
    attack_tables,
    epsilon_sentence,
    exposed_table,
    null_sentence,
    reference_table,
)
from safedeploy.results import AttackEvidence, Evidence

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


def tables(evidence: Evidence) -> tuple[Table, Table]:
    samples = evidence.samples
    return attack_tables(evidence.attacks, samples.members, samples.nonmembers, evidence.verdict.budget)


def without_bound(attack: AttackEvidence) -> AttackEvidence:
    assert attack.epsilon is not None
    none = attack.epsilon.model_copy(update={"low": 0.0, "joint_low": 0.0})
    return attack.model_copy(update={"epsilon": none})


def test_the_first_table_has_the_low_rates_and_those_of_the_budget(audits: "Audits") -> None:
    main, more = tables(audits.evidence[0])

    rates = [head.replace(words.NBSP, " ") for head in main.heads if head.startswith("TPR")]
    assert rates == ["TPR at 10 % FPR", "TPR at 1 % FPR", "TPR at 0.1 % FPR"]  # 10 % as the budget names it
    assert [head.replace(words.NBSP, " ") for head in more.heads if head.startswith("TPR")] == ["TPR at 0.01 % FPR"]
    assert all(len(row) == len(table.heads) for table in (main, more) for row in table.rows)


def test_attacks_come_strongest_first_in_both_tables(audits: "Audits") -> None:
    ranked = [one.name for one in sorted(audits.evidence[0].attacks, key=lambda one: -one.auc)]

    for table in tables(audits.evidence[0]):
        assert [row[0].text for row in table.rows] == ranked


def test_a_rate_that_is_not_resolvable_gives_its_counts_and_no_figure(audits: "Audits") -> None:
    evidence = audits.evidence[0]
    main, _ = tables(evidence)
    point = next(one for one in evidence.worst.tpr if one.fpr == 0.001)

    cell = main.rows[0][-1]

    assert not point.resolvable
    assert (cell.text, cell.interval, cell.known) == ("not resolvable", "", False)
    assert f"{point.true_positives:,} of 120 members at {point.false_positives:,} of 120 non-members" in cell.note


def test_epsilon_is_a_column_only_where_a_bound_is_shown(audits: "Audits") -> None:
    evidence = audits.evidence[0]
    silent = evidence.model_copy(update={"attacks": [without_bound(one) for one in evidence.attacks]})

    assert any("ε" in head for head in tables(evidence)[1].heads)
    assert not any("ε" in head for head in tables(silent)[1].heads)
    assert "not (ε, 1e-05)-differentially private for any ε below" in epsilon_sentence(evidence.attacks)
    assert epsilon_sentence(silent.attacks).startswith("No lower bound on ε is shown. These samples could have shown")


def test_the_null_band_is_of_the_best_attack(audits: "Audits") -> None:
    null = audits.evidence[0].null
    assert null is not None
    area = next(figure.high for figure in null.figures if figure.figure == "auc")

    assert f"the best of 2 attacks would still reach AUC {area:.3f}" in null_sentence(null)


def test_a_member_above_every_non_member_is_below_one_in_their_number(audits: "Audits") -> None:
    exposed = audits.evidence[0].worst.exposed
    table = exposed_table(exposed, 120)
    assert table is not None

    for one, row in zip(exposed, table.rows, strict=True):
        assert row[2].text == f"{one.false_positives} of 120"
        assert row[3].text.startswith("below") == (one.false_positives == 0)


def test_numbers_of_references_come_in_order(audits: "Audits") -> None:
    effects = audits.evidence[0].controls.references
    table = reference_table(effects[::-1], 600, 600)

    assert table is not None
    assert [row[1].text for row in table.rows] == ["2", "16"]


def test_evidence_of_an_earlier_version_has_fewer_columns_and_no_sentences(
    make_evidence: Callable[..., Evidence],
) -> None:
    evidence = make_evidence("model.onnx")
    main, more = tables(evidence)

    assert "Advantage" not in main.heads
    assert more.heads == ("Attack", "Balanced accuracy")
    assert null_sentence(evidence.null) == epsilon_sentence(evidence.attacks) == ""
    assert exposed_table([], 100) is reference_table([], 100, 100) is None
