"""Attribute inference and inversion in words, as Markdown."""

from safedeploy.report import words
from safedeploy.results import AttributeAdvantage, AttributeEvidence, InversionEvidence

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
    """The finding, the baseline that every attack is held against, and each attack beside it."""
    sides = (("members", found.imputation_members), ("non-members", found.imputation_nonmembers))
    baseline = "; ".join(
        f"{name} {figures.auc:.3f} {words.interval(figures.auc_low, figures.auc_high)}" for name, figures in sides
    )
    lines = [
        f"# Column {found.column} ({', '.join(found.values)})",
        "",
        f"**{ATTRIBUTE_FINDINGS[found.finding]}**",
        "",
        f"Guessed from the other columns and the label alone, without the file, AUC: {baseline}. "
        f"Judged on {words.plural(found.samples.members, 'member')} and "
        f"{words.plural(found.samples.nonmembers, 'non-member')}; brackets hold 95 % intervals.",
        "",
        "| Attack | AUC, members | Added on members | Added on non-members | Finding |",
        "| --- | --- | --- | --- | --- |",
    ]
    for attack in found.attacks:
        mine = attack.members
        cells = (
            attack.name,
            f"{mine.figures.auc:.3f}",
            _added(mine.auc_advantage),
            _added(attack.nonmembers.auc_advantage),
            attack.finding,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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


def _added(advantage: AttributeAdvantage) -> str:
    return f"{advantage.value:+.3f} [{advantage.low:+.3f}, {advantage.high:+.3f}]"
