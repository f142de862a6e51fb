"""Audits as one self-contained HTML page: verdicts first, then how the files differ, then each file's evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safedeploy.report import words
from safedeploy.report.comparisons import audit_names, compared
from safedeploy.report.contents import SEVERITY, strongest
from safedeploy.report.evidence_tables import Table, attack_tables
from safedeploy.report.table import Cell
from safedeploy.report.view import View, environment, view
from safedeploy.results import AttackEvidence, Comparison, DenseControl, Evidence, TprAtFpr


@dataclass(frozen=True)
class AuditedFile:
    """One file's part of the page; `attacks` and `dense_attacks`: what to read first, and further figures."""

    name: str
    sentence: str
    view: View
    attacks: tuple[Table, Table]
    dense_attacks: tuple[Table, Table] | None


@dataclass(frozen=True)
class Tile:
    """One figure of the first screen, and what it stands against."""

    name: str
    cell: Cell
    against: str = ""


def audit_html(
    evidence: Sequence[Evidence],
    comparisons: Sequence[Comparison],
    thumbnails: Mapping[int, bytes] | None = None,
) -> str:
    """The whole page: no script, no request. Equal results give equal bytes. `thumbnails`: PNGs by member index."""
    files = [
        _file(one, name, "" if len(evidence) == 1 else f"file{number}-", thumbnails)
        for number, (one, name) in enumerate(zip(evidence, audit_names(evidence), strict=True), 1)
    ]
    worst = min(files, key=_severity)
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            files=files,
            worst=worst,
            basis=words.basis(worst.view.evidence),
            advice=words.advice(worst.view.evidence),
            tiles=_tiles(worst.view.evidence),
            comparison=compared(comparisons, evidence),
            title=worst.name if len(files) == 1 else f"{len(files)} files",
        )
    )


def _file(evidence: Evidence, name: str, key: str, thumbnails: Mapping[int, bytes] | None) -> AuditedFile:
    dense = evidence.controls.dense
    return AuditedFile(
        name,
        words.verdict_sentence(evidence, name),
        view(evidence, dense, key, thumbnails),
        _attacks(evidence, evidence),
        _attacks(dense, evidence) if dense else None,
    )


def _attacks(audit: Evidence | DenseControl, judged: Evidence) -> tuple[Table, Table]:
    samples = judged.samples
    return attack_tables(audit.attacks, samples.members, samples.nonmembers, judged.verdict.budget)


def _severity(file: AuditedFile) -> tuple[int, float]:
    evidence = file.view.evidence
    leading = strongest(evidence.attacks)
    return SEVERITY.index(evidence.verdict.outcome), -(leading.auc if leading else 0.0)


def _tiles(evidence: Evidence) -> list[Tile]:
    """AUC, a true-positive rate and advantage of the attack the verdict names, and the accuracies behind them."""
    worst = evidence.worst if evidence.attacks else None
    if worst is None:
        return []
    null = {figure.figure: figure.high for figure in evidence.null.figures} if evidence.null else {}
    area = Cell(f"{worst.auc:.3f}", words.interval(*words.joint_bounds(worst)))
    found = [Tile(f"AUC of {worst.name}", area, f"Chance reaches {null['auc']:.3f}" if "auc" in null else "")]
    if worst.tpr:
        point = _telling(worst, evidence.verdict.budget)
        chance = null.get(f"tpr@{point.fpr:g}", point.null_high)
        found.append(
            Tile(
                f"Members found at {words.rate(point.fpr)} false alarms",
                _rate(words.joint_rate(point)) if point.resolvable else Cell("not resolvable", known=False),
                f"Chance reaches {words.percent(chance)}",
            )
        )
    if worst.own_cut is not None:
        cut = worst.own_cut
        found.append(
            Tile(
                "Advantage (TPR − FPR)",
                Cell(f"{cut.advantage:.3f}", words.interval(cut.joint_low, cut.joint_high)),
                f"{cut.true_positives:,} members and {cut.false_positives:,} others called members",
            )
        )
    task = evidence.task
    found.append(
        Tile(
            "Right answers on members",
            Cell(words.percent(task.member_accuracy)),
            f"On non-members {words.percent(task.nonmember_accuracy)}",
        )
    )
    return found


def _telling(attack: AttackEvidence, budget: Mapping[str, float]) -> TprAtFpr:
    """The rate the budget names; else the one at the lowest false-positive rate that the samples resolve."""
    named = [point for point in attack.tpr if f"tpr@{point.fpr:g}" in budget]
    resolved = sorted((point for point in attack.tpr if point.resolvable), key=lambda point: point.fpr)
    return (named or resolved or attack.tpr)[0]


def _rate(text: str) -> Cell:
    value, _, bounds = text.partition(" [")
    return Cell(value, f"[{bounds}")
