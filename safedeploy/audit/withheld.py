"""Attribute inference judged where the model never saw the attribute: what the file adds to inputs, or to the label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.attacks.attribute import withheld
from safedeploy.attacks.attribute.column import MIN_KNOWN
from safedeploy.attacks.attribute.guess import AttributeAttack, ValueFunction
from safedeploy.attacks.base import Floats
from safedeploy.audit import attribute_figures as figure
from safedeploy.audit.attribute import Side, judge, overall, some
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples, joined
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.results import AttributeEvidence, AttributeFigures, SampleCounts

Progress = Callable[[float], None]


def audit_withheld(
    artifact: Artifact,
    exam: Exam,
    *,
    attacks: Sequence[AttributeAttack] = withheld.WITHHELD_ATTACKS,
    progress: Progress | None = None,
) -> AttributeEvidence:
    """Evidence on `exam.withheld`, which its samples carry and the artifact's inputs do not hold.

    An attacker learns from the known members' and non-members' values, each side by itself, and is judged on the
    others; `attack.over` says whether it holds the inputs. Raises UserError where too few samples hold the values.
    """
    asked = _asked(exam, artifact.classes)
    reason = _closed(artifact)
    usable = [attack for attack in attacks if attack.access == "black" or not reason]
    column, names = asked.column, asked.names
    sides = _sides(artifact, asked, exam.knowledge.seed, white=not reason)
    counted = _counted([side.values for side in sides], names, column)
    baselines = {
        "inputs": [_baseline(withheld.inputs_alone, side, counted) for side in sides],
        "label": [_baseline(withheld.label_alone, side, counted) for side in sides],
    }
    found = []
    for number, attack in enumerate(usable):
        found.append(judge(attack, sides, baselines[attack.over], counted, names, len(usable)))
        if progress:
            progress((number + 1) / len(usable))
    finding = overall([attack for attack in found if attack.over == "inputs"])

    def shown(over: str) -> list[AttributeFigures]:
        return [figure.figures(one, side.values, names) for one, side in zip(baselines[over], sides, strict=True)]

    missing = [
        len(part.y) - len(side.values) for part, side in zip((exam.members, exam.nonmembers), sides, strict=True)
    ]
    (inputs_in, inputs_out), (label_in, label_out) = shown("inputs"), shown("label")
    return AttributeEvidence(
        column=column,
        columns=[],
        withheld=True,
        values=list(names),
        samples=SampleCounts(members=len(sides[0].values), nonmembers=len(sides[1].values)),
        known=SampleCounts(members=len(sides[0].known_values), nonmembers=len(sides[1].known_values)),
        unseen=SampleCounts(members=missing[0], nonmembers=missing[1]),
        imputation_members=inputs_in,
        imputation_nonmembers=inputs_out,
        label_members=label_in,
        label_nonmembers=label_out,
        commonest=[float(np.bincount(side.values).max() / len(side.values)) for side in sides],
        attacks=found,
        not_run={attack.name: reason for attack in attacks if attack not in usable},
        finding="inconclusive" if exam.blind.shifted and finding != "nothing" else finding,
    )


def require_told(exam: Exam) -> None:
    """Raises UserError where `exam.withheld` cannot be learned from the known samples, or not judged on the others."""
    if exam.withheld is not None:
        known = [some(part, exam.knowledge.seed) for part in (exam.knowledge.members, exam.knowledge.nonmembers)]
        learnable = _learnable(known, exam.withheld.names, exam.withheld.column)
        names = tuple(exam.withheld.names[value] for value in learnable)
        held = [_holding(part, learnable)[1] for part in (exam.members, exam.nonmembers)]
        _counted(held, names, exam.withheld.column)


@dataclass(frozen=True, eq=False)
class _Asked:
    """Known members, known non-members, members and non-members, with their values by place in `names`, and what
    inputs and label tell of each.
    """

    column: str
    names: tuple[str, ...]
    parts: list[Samples]
    values: list[Indices]
    blind: list[Floats]


@lru_cache(maxsize=1)  # of an exam that asks several files
def _asked(exam: Exam, classes: int) -> _Asked:
    assert exam.withheld is not None
    column, names, seed = exam.withheld.column, exam.withheld.names, exam.knowledge.seed
    known = [some(part, seed) for part in (exam.knowledge.members, exam.knowledge.nonmembers)]
    learnable = _learnable(known, names, column)
    held = [_holding(part, learnable) for part in (*known, exam.members, exam.nonmembers)]
    parts, values = [part for part, _ in held], [value for _, value in held]
    told, *others = withheld.blind(joined(*parts[:2]), np.concatenate(values[:2]), parts[2:], classes, seed)
    cut = len(parts[0].y)
    return _Asked(column, tuple(names[value] for value in learnable), parts, values, [told[:cut], told[cut:], *others])


def _learnable(known: Sequence[Samples], names: tuple[str, ...], column: str) -> list[int]:
    """Values that enough known members and known non-members hold."""
    counts = [np.bincount(_values(part), minlength=len(names)) for part in known]
    values = [value for value in range(len(names)) if min(count[value] for count in counts) >= MIN_KNOWN]
    if len(values) < 2:
        what = f"column {column} has {len(values)} values that {MIN_KNOWN} known members and as many known non-members"
        raise UserError(f"{what} hold: nothing to infer; give more samples, or merge rare values")
    return values


def _counted(values: Sequence[Indices], names: tuple[str, ...], column: str) -> list[int]:
    counted = sorted(set.intersection(*(set(figure.counted_values(side, len(names))) for side in values)))
    if not counted:
        needed = f"hold a value of column {column} and as many that do not"
        raise UserError(f"fewer than {figure.MIN_JUDGED} members or non-members to judge {needed}: give more samples")
    return counted


def _holding(samples: Samples, values: Sequence[int]) -> tuple[Samples, Indices]:
    """The samples that hold one of `values`, and which, by its place in `values`."""
    chosen = np.flatnonzero(np.isin(_values(samples), values))
    kept = samples if len(chosen) == len(samples.y) else samples.at(chosen)
    return kept, np.searchsorted(np.array(values), _values(kept))


def _values(samples: Samples) -> Indices:
    assert samples.sensitive is not None
    return samples.sensitive


def _sides(artifact: Artifact, asked: _Asked, seed: int, *, white: bool) -> list[Side]:
    """Members, then non-members."""
    seen = [
        withheld.seen(artifact, part, guess, seed, white=white)
        for part, guess in zip(asked.parts, asked.blind, strict=True)
    ]
    return [Side(seen[side], asked.values[side], seen[side + 2], asked.values[side + 2]) for side in (0, 1)]


def _baseline(function: ValueFunction, side: Side, counted: list[int]) -> figure.Guesses:
    return figure.judged(function(side.known, side.known_values, side.targets), side.values, counted)


def _closed(artifact: Artifact) -> str:
    """Why there is no white box, or nothing."""
    try:
        artifact.unpack()
    except Unopenable as closed:
        return str(closed)
    return ""
