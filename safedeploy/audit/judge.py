"""Scores turned into evidence: each attack's figures, and what they are worth beside the other attacks of the audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from safedeploy import roc
from safedeploy.attacks.base import Attack, Scores
from safedeploy.attacks.references import References
from safedeploy.audit.epsilon import epsilon_bound, ratio_low
from safedeploy.audit.exam import Exam
from safedeploy.audit.exposed import exposed_members, hardest_tenth, leakage_among
from safedeploy.audit.joint import joint_confidence
from safedeploy.audit.null import Null, p_value, permute
from safedeploy.audit.ranking import allowed_false_positives
from safedeploy.audit.rates import curve_interval
from safedeploy.delong import placements
from safedeploy.results import AttackEvidence, ClassLeakage, NullBand, OwnCut, TprAtFpr

FPRS = (0.1, 0.01, 0.001, 0.0001)


@dataclass(frozen=True, eq=False)
class _Side:
    """One attack's scores of members and of non-members, and its own cut."""

    inside: roc.Floats
    outside: roc.Floats
    threshold: float


def judge(
    scores: Mapping[Attack, Scores],
    exam: Exam,
    fprs: Sequence[float] = FPRS,
    references: References | None = None,
    *,
    inputs: bool = True,
) -> tuple[list[AttackEvidence], NullBand]:
    """Evidence on every attack of an audit, in order, and what the best of them would reach on a model without leaks.

    `scores` are of exam.targets: members first. `references`: those the attacks had, to tell hard samples by;
    `inputs`: whether exam's inputs mean anything, for the same where there are none.
    """
    count, seed = len(exam.members.y), exam.knowledge.seed
    sides = [_Side(each.values[:count], each.values[count:], each.threshold) for each in scores.values()]
    null = permute(np.stack([each.values for each in scores.values()]), count, fprs, seed)
    area_confidence = joint_confidence([placements(side.inside, side.outside) for side in sides], seed)
    cut_confidence = joint_confidence(
        [(side.inside >= side.threshold, side.outside >= side.threshold) for side in sides], seed
    )
    rates = [_rates(sides, fpr, null, seed) for fpr in fprs]
    chosen = hardest_tenth(exam, references) if references or inputs else None
    found = []
    for place, (attack, side) in enumerate(zip(scores, sides, strict=True)):
        value, low, high = roc.auc_interval(side.inside, side.outside)
        _, joint_low, joint_high = roc.auc_interval(side.inside, side.outside, area_confidence)
        cut, balanced = _own_cut(side, cut_confidence)
        found.append(
            AttackEvidence(
                name=attack.name,
                access=attack.access,
                references=references.count if references and attack.references else 0,
                auc=value,
                auc_low=low,
                auc_high=high,
                balanced_accuracy=balanced[0],
                balanced_accuracy_low=balanced[1],
                balanced_accuracy_high=balanced[2],
                tpr=[of_rate[place] for of_rate in rates],
                roc=roc.thin_curve(side.inside, side.outside),
                histogram=roc.score_histogram(side.inside, side.outside),
                per_class=_per_class(side, exam),
                auc_joint_low=joint_low,
                auc_joint_high=joint_high,
                auc_p=p_value(null.auc[place], value),
                own_cut=cut,
                epsilon=epsilon_bound(side.inside, side.outside, len(sides), seed),
                exposed=exposed_members(side.inside, side.outside, exam),
                hardest=leakage_among(*chosen, side.inside, side.outside) if chosen else None,
            )
        )
    return found, null.band()


def _rates(sides: Sequence[_Side], fpr: float, null: Null, seed: int) -> list[TprAtFpr]:
    """Every attack's true-positive rate at one false-positive rate.

    In the interval for all of them a false positive weighs TPR / FPR, by how much it moves the cut along the curve.
    """
    points = [roc.tpr_at_fpr(side.inside, side.outside, fpr) for side in sides]
    parts = []
    for side, point in zip(sides, points, strict=True):
        size = side.outside.size
        cut = np.sort(side.outside)[size - allowed_false_positives(fpr, size) - 1]
        above = (side.inside > cut).astype(np.float64)
        parts.append((above, -point.tpr / fpr * (side.outside > cut)))
    confidence = joint_confidence(parts, seed)
    rates = []
    for place, (side, point) in enumerate(zip(sides, points, strict=True)):
        low, high = curve_interval(point.true_positives, side.inside.size, side.outside.size, fpr, confidence)
        p = p_value(null.tpr[fpr][place], point.tpr)
        rates.append(point.model_copy(update={"joint_low": low, "joint_high": high, "p": p}))
    return rates


def _own_cut(side: _Side, confidence: float) -> tuple[OwnCut, tuple[float, float, float]]:
    """The attack at the cut it chose on its known samples, and its balanced accuracy there with its interval."""
    hits, alarms = (int((part >= side.threshold).sum()) for part in (side.inside, side.outside))
    members, nonmembers = side.inside.size, side.outside.size
    counts = (hits, members), (nonmembers - alarms, nonmembers)
    balanced = roc.mean_of_proportions_interval(*counts)
    value, low, high = (2 * figure - 1 for figure in balanced)
    joint_low, joint_high = (2 * figure - 1 for figure in roc.mean_of_proportions_interval(*counts, confidence)[1:])
    cut = OwnCut(
        true_positives=hits,
        false_positives=alarms,
        advantage=value,
        low=low,
        high=high,
        joint_low=joint_low,
        joint_high=joint_high,
        ratio_low=ratio_low(hits, members, alarms, nonmembers),
    )
    return cut, balanced


def _per_class(side: _Side, exam: Exam) -> list[ClassLeakage]:
    rows = []
    for label in np.unique(exam.members.y):
        mine, theirs = side.inside[exam.members.y == label], side.outside[exam.nonmembers.y == label]
        value, low, high = roc.auc_interval(mine, theirs)
        name, counts = exam.class_names[label], {"members": mine.size, "nonmembers": theirs.size}
        rows.append(ClassLeakage(label=name, auc=value, auc_low=low, auc_high=high, **counts))
    return rows
