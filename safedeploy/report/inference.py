"""Attribute inference and inversion in words and tables."""

from safedeploy.report import words
from safedeploy.report.evidence_tables import Table
from safedeploy.report.table import Cell
from safedeploy.results import AttributeAdvantage, AttributeEvidence, AttributeFigures, InversionEvidence

ATTRIBUTE_FINDINGS = {
    "memorised": "The file gives away this column of its members: it adds to guessing, more than for others.",
    "general": "The file helps to guess this column of anybody: it knows the relation, and no member in particular.",
    "unresolved": "The file helps to guess this column of members; the samples do not show whether more than others'.",
    "nothing": "The file adds nothing to guessing this column that these samples show.",
    "inconclusive": "Members and non-members differ by themselves, so nothing can be said; draw both from one source.",
}
INVERSION_FINDINGS = {
    "members": "The inputs rebuilt from the file resemble its members more than other examples of their classes.",
    "class": "The inputs rebuilt from the file show what its classes are like, and no member in particular.",
    "nothing": "The inputs rebuilt from the file resemble their classes no more than chance.",
    "inconclusive": "There are too few classes, or the two sets differ by themselves: nothing can be said.",
}


def attribute_markdown(found: AttributeEvidence) -> str:
    """The finding, the baselines that attacks are held against, and each attack beside its own."""
    table = attribute_table(found)
    rows = [table.heads, ("---",) * len(table.heads), *([str(cell) for cell in row] for row in table.rows)]
    head, *rest = attribute_sentences(found)
    return "\n".join(
        [
            f"# {attribute_title(found)}",
            "",
            f"**{head}**",
            "",
            " ".join(rest),
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
        ]
    )


def attribute_title(found: AttributeEvidence) -> str:
    return f"Column {found.column} ({', '.join(found.values)})"


def attribute_sentences(found: AttributeEvidence) -> list[str]:
    """The finding, then what it is held against and how many samples judged it."""
    judged = (
        f"Judged on {words.plural(found.samples.members, 'member')} and "
        f"{words.plural(found.samples.nonmembers, 'non-member')}; brackets hold 95 % intervals."
    )
    known = "inputs" if found.withheld else "other columns"
    sides = _sides(found.imputation_members, found.imputation_nonmembers)
    said = [ATTRIBUTE_FINDINGS[found.finding]]
    if found.withheld:
        said[0] = f"To one who holds the inputs: {said[0][0].lower()}{said[0][1:]}"
        said.append(
            "What the inputs tell of it is not the model's doing: an attack counts for what it adds to a guess."
        )
    said.append(f"Guessed from the {known} and the label alone, without the file, AUC: {sides}.")
    if found.label_members is not None and found.label_nonmembers is not None:
        said.append(f"From the label alone: {_sides(found.label_members, found.label_nonmembers)}.")
    said += [judged, *(f"{name} did not run: {reason}." for name, reason in found.not_run.items())]
    return said


def attribute_table(found: AttributeEvidence, dense: AttributeEvidence | None = None) -> Table:
    """A row an attack; `dense`: of the dense control's file, whose gain on members stands beside."""
    others = {attack.name: attack for attack in dense.attacks} if dense is not None else {}
    heads = ("Attack", *(["Attacker holds"] if found.withheld else []), "AUC, members", "Added on members")
    heads = (*heads, "Added on non-members", "Finding", *(["Dense control, added on members"] if others else []))
    rows = []
    for attack in found.attacks:
        mine = attack.members
        cells = [Cell(attack.name)]
        if found.withheld:
            seen = "answers" if attack.access == "black" else "inner features"
            cells.append(Cell(f"{seen}, {'inputs, label' if attack.over == 'inputs' else 'label'}"))
        cells += [
            Cell(f"{mine.figures.auc:.3f}", words.interval(mine.figures.auc_low, mine.figures.auc_high)),
            _added(mine.auc_advantage),
            _added(attack.nonmembers.auc_advantage),
            Cell(attack.finding),
        ]
        if others:
            other = others.get(attack.name)
            cells.append(_added(other.members.auc_advantage) if other else Cell("not run", known=False))
        rows.append(tuple(cells))
    return Table(heads, tuple(rows))


def inversion_markdown(found: InversionEvidence) -> str:
    """The finding, and each class's likeness beside the baseline that never saw the file."""
    mine, known = found.inversion, found.known
    lines = [
        "# Inputs rebuilt from the file",
        "",
        f"**{INVERSION_FINDINGS[found.finding]}**",
        "",
        f"{found.access.capitalize()} box, {found.queries:,} queries. Cosine with the own class's mean "
        f"{mine.members:.2f}, with other classes' {mine.others:.2f}; {mine.first} of {len(found.classes)} are nearest "
        f"to their own. The mean of known samples, which never saw the file, has {known.members:.2f}.",
        "",
        "| Class | Cosine with its mean | Nearest place | Known samples' mean |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.label} | {one.similarity:.2f} | {one.rank} | {one.known_similarity:.2f} |" for one in found.classes
    ]
    return "\n".join(lines) + "\n"


def _added(advantage: AttributeAdvantage) -> Cell:
    return Cell(f"{advantage.value:+.3f}", f"[{advantage.low:+.3f}, {advantage.high:+.3f}]")


def _sides(members: AttributeFigures, nonmembers: AttributeFigures) -> str:
    return "; ".join(
        f"{name} {figures.auc:.3f} {words.interval(figures.auc_low, figures.auc_high)}"
        for name, figures in (("members", members), ("non-members", nonmembers))
    )
