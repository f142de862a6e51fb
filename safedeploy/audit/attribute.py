"""Attribute inference judged: what a file adds to guessing a hidden column, for members and for non-members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.attribute import ATTRIBUTE_ATTACKS
from safedeploy.attacks.attribute.ask import ask
from safedeploy.attacks.attribute.column import Sensitive, sensitive_column
from safedeploy.attacks.attribute.guess import AttributeAttack, Case, imputation
from safedeploy.attacks.attribute.impute import impute
from safedeploy.audit import attribute_figures as figure
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples, joined
from safedeploy.errors import UserError
from safedeploy.results import (
    AttributeAttackEvidence,
    AttributeEvidence,
    AttributeSide,
    SampleCounts,
)
from safedeploy.roc import CONFIDENCE
from safedeploy.seeds import numpy_generator

MAX_KNOWN = 4000  # samples a side to learn from, as in the blind control

Finding = Literal["memorised", "general", "unresolved", "nothing"]
Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Side:
    """Members or non-members: the attacker's own and those judged, whose values only the judge sees.

    known, targets: what the attacks take, a `Case` or a `withheld.Seen` each.
    """

    known: Any
    known_values: NDArray[np.int64]
    targets: Any
    values: NDArray[np.int64]


def audit_attribute(
    artifact: Artifact,
    exam: Exam,
    columns: Sequence[int],
    *,
    name: str | None = None,
    attacks: Sequence[AttributeAttack] = ATTRIBUTE_ATTACKS,
    most: int = 8,
    progress: Progress | None = None,
) -> AttributeEvidence:
    """Evidence on the input's `columns` (one, or a one-hot group), called `name` in it.

    The attacker knows every other column and the label. A numeric column is cut into at most `most` values. Give the
    artifact itself, not one that remembers: it is asked about many inputs once. Raises UserError where the inputs are
    no table, or too few samples hold the values.
    """
    called = name or ", ".join(str(column) for column in columns)
    sensitive = sensitive_column(exam.knowledge, columns, most)
    sides, unseen = _sides(artifact, exam, sensitive, progress)
    counted = [set(figure.counted_values(side.values, len(sensitive.names))) for side in sides]
    shared = sorted(set.intersection(*counted))
    if not shared:
        needed = f"hold a value of column {called} and as many that do not"
        raise UserError(f"fewer than {figure.MIN_JUDGED} members or non-members to judge {needed}: give more samples")
    baselines = [
        figure.judged(imputation(side.known, side.known_values, side.targets), side.values, shared) for side in sides
    ]
    found = [judge(attack, sides, baselines, shared, sensitive.names, len(attacks)) for attack in attacks]
    finding = overall(found)
    first, second = (
        figure.figures(baseline, side.values, sensitive.names) for baseline, side in zip(baselines, sides, strict=True)
    )
    return AttributeEvidence(
        column=called,
        columns=list(sensitive.columns),
        values=list(sensitive.names),
        samples=SampleCounts(members=len(sides[0].values), nonmembers=len(sides[1].values)),
        known=SampleCounts(members=len(sides[0].known_values), nonmembers=len(sides[1].known_values)),
        unseen=unseen,
        imputation_members=first,
        imputation_nonmembers=second,
        commonest=[float(np.bincount(side.values).max() / len(side.values)) for side in sides],
        attacks=found,
        finding="inconclusive" if exam.blind.shifted and finding != "nothing" else finding,
    )


def _sides(
    artifact: Artifact, exam: Exam, sensitive: Sensitive, progress: Progress | None
) -> tuple[list[Side], SampleCounts]:
    """Members, then non-members; and how many of either were left out, as they hold a value no candidate has."""
    seed = exam.knowledge.seed
    known = [_holding(some(part, seed), sensitive) for part in (exam.knowledge.members, exam.knowledge.nonmembers)]
    targets = [_holding(part, sensitive) for part in (exam.members, exam.nonmembers)]
    if min(len(part.y) for part in targets) == 0:
        raise UserError("no sample to judge holds a value of the sensitive column that known samples hold")
    values = [sensitive.read(part.x) for part in (*known, *targets)]
    imputed = impute(sensitive, joined(*known), np.concatenate(values[:2]), targets, artifact.classes, seed)
    split = [imputed[0][: len(known[0].y)], imputed[0][len(known[0].y) :], *imputed[1:]]
    answered = []
    for number, part in enumerate((*known, *targets)):
        answered.append(ask(artifact, sensitive, part, _share(progress, number, 4)))
    made = [Case(guess, answers) for guess, answers in zip(split, answered, strict=True)]
    sides = [Side(made[side], values[side], made[side + 2], values[side + 2]) for side in (0, 1)]
    missing = [len(part.y) - len(kept.y) for part, kept in zip((exam.members, exam.nonmembers), targets, strict=True)]
    return sides, SampleCounts(members=missing[0], nonmembers=missing[1])


def judge(
    attack: AttributeAttack,
    sides: Sequence[Side],
    baselines: Sequence[figure.Guesses],
    counted: list[int],
    names: tuple[str, ...],
    together: int,
) -> AttributeAttackEvidence:
    """`together`: attacks whose findings must hold at once (Bonferroni)."""
    strict = 1 - (1 - CONFIDENCE) / together
    shown, certain = [], []
    for side, baseline in zip(sides, baselines, strict=True):
        guesses = figure.judged(attack.function(side.known, side.known_values, side.targets), side.values, counted)
        gained, lost = figure.discordant(guesses, baseline)
        shown.append(
            AttributeSide(
                figures=figure.figures(guesses, side.values, names),
                auc_advantage=figure.auc_advantage(guesses, baseline),
                accuracy_advantage=figure.accuracy_advantage(guesses, baseline),
                gained=gained,
                lost=lost,
                mcnemar_p=figure.mcnemar(gained, lost),
            )
        )
        certain.append(figure.auc_advantage(guesses, baseline, strict))
    members, nonmembers = shown
    return AttributeAttackEvidence(
        name=attack.name,
        labels_only=attack.labels_only,
        access=attack.access,
        over=attack.over,
        members=members,
        nonmembers=nonmembers,
        memorised_auc=figure.difference(members.auc_advantage, nonmembers.auc_advantage),
        memorised_accuracy=figure.difference(members.accuracy_advantage, nonmembers.accuracy_advantage),
        finding=_finding(certain[0].low > 0, certain[1].low > 0, figure.difference(*certain).low > 0),
    )


def _finding(on_members: bool, on_nonmembers: bool, more_on_members: bool) -> Finding:
    if on_members and more_on_members:
        return "memorised"
    if on_nonmembers:
        return "general"
    return "unresolved" if on_members else "nothing"


def overall(found: Sequence[AttributeAttackEvidence]) -> Finding:
    order: tuple[Finding, ...] = ("memorised", "general", "unresolved", "nothing")
    return min((attack.finding for attack in found), key=order.index, default="nothing")


def _holding(samples: Samples, sensitive: Sensitive) -> Samples:
    """Those that hold one of the candidates."""
    held = sensitive.read(samples.x) >= 0
    return samples if held.all() else samples.at(np.flatnonzero(held))


def some(samples: Samples, seed: int) -> Samples:
    """At most MAX_KNOWN of them, drawn by seed."""
    if len(samples.y) <= MAX_KNOWN:
        return samples
    return samples.at(np.sort(numpy_generator(seed, "attribute").permutation(len(samples.y))[:MAX_KNOWN]))


def _share(progress: Progress | None, number: int, parts: int) -> Progress | None:
    return None if progress is None else lambda done: progress((number + done) / parts)
