"""Scores turned into one attack's evidence."""

from collections.abc import Sequence

import numpy as np

from safedeploy import roc
from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit.exam import Exam
from safedeploy.results import AttackEvidence, ClassLeakage

FPRS = (0.01, 0.001)


def judge(attack: Attack, scores: Scores, exam: Exam, fprs: Sequence[float] = FPRS) -> AttackEvidence:
    """`scores` are of exam.targets: members first."""
    count = len(exam.members.y)
    inside, outside = scores.values[:count], scores.values[count:]
    value, low, high = roc.auc_interval(inside, outside)
    hits, passes = int((inside >= scores.threshold).sum()), int((outside < scores.threshold).sum())
    balanced = roc.mean_of_proportions_interval((hits, inside.size), (passes, outside.size))
    return AttackEvidence(
        name=attack.name,
        access=attack.access,
        auc=value,
        auc_low=low,
        auc_high=high,
        balanced_accuracy=balanced[0],
        balanced_accuracy_low=balanced[1],
        balanced_accuracy_high=balanced[2],
        tpr=[roc.tpr_at_fpr(inside, outside, fpr) for fpr in fprs],
        roc=roc.thin_curve(inside, outside),
        histogram=roc.score_histogram(inside, outside),
        per_class=_per_class(inside, outside, exam),
    )


def _per_class(inside: roc.Floats, outside: roc.Floats, exam: Exam) -> list[ClassLeakage]:
    rows = []
    for label in np.unique(exam.members.y):
        mine, theirs = inside[exam.members.y == label], outside[exam.nonmembers.y == label]
        value, low, high = roc.auc_interval(mine, theirs)
        name, counts = exam.class_names[label], {"members": mine.size, "nonmembers": theirs.size}
        rows.append(ClassLeakage(label=name, auc=value, auc_low=low, auc_high=high, **counts))
    return rows
