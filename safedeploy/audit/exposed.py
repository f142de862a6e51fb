"""Whom a model exposes most: the members an attack is surest of, and leakage among the samples hardest to learn."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.references import References
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples
from safedeploy.results import ExposedMember, HardestTenth
from safedeploy.roc import auc_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST = 20
By = Literal["references", "class-centre"]


def exposed_members(inside: Floats, outside: Floats, exam: Exam) -> list[ExposedMember]:
    """The `MOST` members of highest score, each with the non-members that score as high: a list, not an estimate.

    `inside` and `outside` are scores of exam.members and exam.nonmembers.
    """
    sorted_outside = np.sort(outside)
    found = []
    for place in np.argsort(-inside, kind="stable")[:MOST]:
        above = int(outside.size - np.searchsorted(sorted_outside, inside[place], side="left"))
        label = exam.class_names[exam.members.y[place]]
        index = int(place if exam.member_index is None else exam.member_index[place])
        found.append(ExposedMember(index=index, label=label, false_positives=above, fpr=above / outside.size))
    return found


def hardest_tenth(exam: Exam, references: References | None) -> tuple[Bools, By]:
    """(n,) which of exam.targets are in the hardest tenth, and by what.

    The measure must know nothing of membership: to pick the samples an attack scores highest and then to judge that
    attack on them would find leakage in noise. With references it is their mean φ where they did not train on the
    sample; else the distance from the sample to the mean of its class among the attacker's known non-members.
    """
    if references is None:
        hardness, by = _distance(exam.targets, exam.knowledge.nonmembers), "class-centre"
    else:
        answers = references.of(exam.targets)
        out = ~answers.member
        asked = np.where(out, answers.phi[:, :, 0], 0.0).sum(axis=0) / np.maximum(out.sum(axis=0), 1)
        hardness, by = np.where(out.any(axis=0), -asked, -np.inf), "references"
    order = np.argsort(-hardness, kind="stable")
    chosen = np.zeros(hardness.size, dtype=bool)
    chosen[order[: max(1, hardness.size // 10)]] = True
    return chosen, "references" if by == "references" else "class-centre"


def leakage_among(chosen: Bools, by: By, inside: Floats, outside: Floats) -> HardestTenth | None:
    """AUC among `chosen` of the targets, members first; None where one side has no sample there."""
    mine, theirs = inside[chosen[: inside.size]], outside[chosen[inside.size :]]
    if min(mine.size, theirs.size) == 0:
        return None
    value, low, high = auc_interval(mine, theirs)
    return HardestTenth(by=by, members=mine.size, nonmembers=theirs.size, auc=value, auc_low=low, auc_high=high)


def _distance(targets: Samples, known: Samples) -> Floats:
    """Of each target to its class's centre among `known`, or to the centre of all where its class is not there."""
    rows = targets.x.reshape(len(targets.y), -1)
    others = known.x.reshape(len(known.y), -1)
    distance = np.zeros(len(rows))
    for label in np.unique(targets.y):
        mine, same = targets.y == label, others[known.y == label]
        centre = (same if len(same) else others).mean(axis=0)
        distance[mine] = np.linalg.norm(rows[mine] - centre, axis=1)
    return distance
