"""An audit's evidence as tables of text: the one source that the Markdown and the pages print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safedeploy.report import words
from safedeploy.report.table import Cell
from safedeploy.results import (
    AttackEvidence,
    EpsilonBound,
    Evidence,
    ExposedMember,
    HardestTenth,
    NullBand,
    OwnCut,
    ReferenceEffect,
    TprAtFpr,
)

FIRST_RATES = (0.01, 0.001)  # four columns of rates do not fit beside each other


@dataclass(frozen=True)
class Table:
    """Columns and rows; a row's first cell names it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def first(self, count: int) -> "Table":
        return Table(self.heads, self.rows[:count])

    def beyond(self, count: int) -> "Table":
        return Table(self.heads, self.rows[count:])


def attack_tables(
    attacks: Sequence[AttackEvidence], members: int, nonmembers: int, budget: Mapping[str, float]
) -> tuple[Table, Table]:
    """What to read first of every attack, highest AUC first, and the rest of its figures.

    The first has the rates `FIRST_RATES` and those `budget` names.
    """
    ranked = sorted(attacks, key=lambda attack: -attack.auc)
    fprs = [point.fpr for point in ranked[0].tpr] if ranked else []
    named = {float(key.removeprefix("tpr@")) for key in budget if key.startswith("tpr@")}
    first = [fpr for fpr in fprs if fpr in FIRST_RATES or fpr in named]
    rest = [fpr for fpr in fprs if fpr not in first]
    cut = any(attack.own_cut for attack in ranked)
    shown = any(attack.epsilon and attack.epsilon.low > 0 for attack in ranked)
    hardest = any(attack.hardest for attack in ranked)

    def rates(attack: AttackEvidence, fprs: Sequence[float]) -> list[Cell]:
        return [rate_cell(point, members, nonmembers) for fpr in fprs for point in attack.tpr if point.fpr == fpr]

    main = [
        (
            Cell(attack.name),
            Cell(words.access(attack)),
            _auc(attack),
            *([_advantage(attack.own_cut, members, nonmembers)] if cut else []),
            *rates(attack, first),
        )
        for attack in ranked
    ]
    more = [
        (
            Cell(attack.name),
            _balanced(attack),
            *rates(attack, rest),
            *([_epsilon(attack.epsilon)] if shown else []),
            *([_hardest(attack.hardest)] if hardest else []),
        )
        for attack in ranked
    ]
    return (
        Table(
            ("Attack", "Attacker sees", "AUC", *(["Advantage"] if cut else []), *map(_rate_head, first)), tuple(main)
        ),
        Table(
            (
                "Attack",
                "Balanced accuracy",
                *map(_rate_head, rest),
                *(["Training's \u03b5"] if shown else []),
                *(["AUC, hardest tenth"] if hardest else []),
            ),
            tuple(more),
        ),
    )


def rate_cell(point: TprAtFpr, members: int, nonmembers: int) -> Cell:
    """The rate, or that the non-members are too few to carry it; with both counts, and where chance reaches."""
    notes = [words.positives(point, members, nonmembers), words.chance(point)]
    if not point.resolvable:
        return Cell("not resolvable", note="; ".join(notes), known=False)
    if point.joint_low is not None and point.joint_high is not None:
        notes.append(f"together {words.percent_interval(point.joint_low, point.joint_high)}")
    return Cell(words.percent(point.tpr), words.percent_interval(point.low, point.high), "; ".join(notes))


def reference_table(effects: Sequence[ReferenceEffect], members: int, nonmembers: int) -> Table | None:
    """Attacks with fewer and more reference models."""
    if not effects:
        return None
    ordered = sorted(effects, key=lambda effect: (effect.attack, effect.references))
    fprs = [point.fpr for point in ordered[0].tpr if point.fpr in FIRST_RATES]
    rows = tuple(
        (
            Cell(effect.attack),
            Cell(f"{effect.references:,}"),
            Cell(f"{effect.auc:.3f}", words.interval(effect.auc_low, effect.auc_high)),
            *(rate_cell(point, members, nonmembers) for point in effect.tpr if point.fpr in FIRST_RATES),
        )
        for effect in ordered
    )
    return Table(("Attack", "Reference models", "AUC", *map(_rate_head, fprs)), rows)


def exposed_table(exposed: Sequence[ExposedMember], nonmembers: int) -> Table | None:
    """The members an attack is surest of, surest first."""
    if not exposed:
        return None
    rows = tuple(
        (
            Cell(f"{one.index:,}"),
            Cell(one.label),
            Cell(f"{one.false_positives:,} of {nonmembers:,}"),
            Cell(words.percent(one.fpr, 2) if one.false_positives else f"below {words.percent(1 / nonmembers, 2)}"),
        )
        for one in exposed
    )
    return Table(("Example", "Class", "Non-members scored as high", "False-positive rate"), rows)


def null_sentence(null: NullBand | None) -> str:
    """What the best of the attacks reaches where nothing leaks; empty where that was not drawn."""
    if null is None:
        return ""
    reach = ", ".join(
        f"{words.figure(one.figure)} {f'{one.high:.3f}' if one.figure == 'auc' else words.percent(one.high)}"
        for one in null.figures
        if one.figure == "auc" or float(one.figure.removeprefix("tpr@")) in FIRST_RATES
    )
    best = f"the best of {words.plural(null.attacks, 'attack')}" if null.attacks > 1 else "the attack"
    return (
        f"On a file that leaks nothing, {best} would still reach {reach} in 1 audit of 20 "
        f"(membership drawn afresh {null.draws:,} times)."
    )


def epsilon_sentence(attacks: Sequence[AttackEvidence]) -> str:
    """What the attacks show of ε; empty where none was judged."""
    bounds = [attack.epsilon for attack in attacks if attack.epsilon is not None]
    if not bounds:
        return ""
    best, most = max(bounds, key=lambda bound: bound.joint_low), max(bound.most for bound in bounds)
    if best.joint_low > 0:
        return (
            f"The training is not (\u03b5, {best.delta:g})-differentially private for any \u03b5 below "
            f"{best.joint_low:.2f}, at {words.percent(best.confidence, 0)} confidence for all attacks together, if "
            "membership was drawn at random."
        )
    return (
        f"No lower bound on \u03b5 is shown. These samples could have shown at most {most:.2f}, and that no bound is "
        "shown does not prove that \u03b5 is small."
    )


def hardest_sentence(attack: AttackEvidence) -> str:
    """Leakage among the hardest samples; empty where the audit has none."""
    found = attack.hardest
    if found is None:
        return ""
    by = "reference models" if found.by == "references" else "the distance from their class's centre"
    counts = f"{words.plural(found.members, 'member')}, {words.plural(found.nonmembers, 'non-member')}"
    return (
        f"Among the tenth of the samples that are hardest by {by} ({counts}), {attack.name} reaches AUC "
        f"{found.auc:.3f} {words.interval(found.auc_low, found.auc_high)}."
    )


def exposed_lead(evidence: Evidence, attack: AttackEvidence) -> str:
    return (
        f"The training examples that {attack.name} is surest of, each with how many of "
        f"{words.plural(evidence.samples.nonmembers, 'non-member')} score as high. A list, not an estimate: the same "
        "attack has such a list on a file that leaks nothing."
    )


def _auc(attack: AttackEvidence) -> Cell:
    notes = []
    if attack.auc_joint_low is not None and attack.auc_joint_high is not None:
        notes.append(f"together {words.interval(attack.auc_joint_low, attack.auc_joint_high)}")
    if attack.auc_p is not None:
        notes.append(words.probability(attack.auc_p))
    return Cell(f"{attack.auc:.3f}", words.interval(attack.auc_low, attack.auc_high), "; ".join(notes))


def _advantage(cut: OwnCut | None, members: int, nonmembers: int) -> Cell:
    if cut is None:
        return Cell("not measured", known=False)
    note = (
        f"calls {cut.true_positives:,} of {members:,} members and {cut.false_positives:,} of {nonmembers:,} "
        f"non-members; together {words.interval(cut.joint_low, cut.joint_high)}"
    )
    return Cell(f"{cut.advantage:.3f}", words.interval(cut.low, cut.high), note)


def _balanced(attack: AttackEvidence) -> Cell:
    bounds = words.percent_interval(attack.balanced_accuracy_low, attack.balanced_accuracy_high)
    return Cell(words.percent(attack.balanced_accuracy), bounds)


def _epsilon(bound: EpsilonBound | None) -> Cell:
    if bound is None:
        return Cell("not measured", known=False)
    note = f"{bound.correct:,} of {bound.guesses:,} calls right; together \u2265 {bound.joint_low:.2f}"
    if bound.low == 0:
        return Cell("no bound", note=note, known=False)
    return Cell(f"\u2265 {bound.low:.2f}", note=note)


def _hardest(found: HardestTenth | None) -> Cell:
    if found is None:
        return Cell("not measured", known=False)
    note = f"{words.plural(found.members, 'member')}, {words.plural(found.nonmembers, 'non-member')}"
    return Cell(f"{found.auc:.3f}", words.interval(found.auc_low, found.auc_high), note)


def _rate_head(fpr: float) -> str:
    return f"TPR at {words.rate(fpr)} FPR"
