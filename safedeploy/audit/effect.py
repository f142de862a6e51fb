"""What fewer reference models had found: whether more of them would find more can be read off the trend."""

from collections.abc import Sequence
from dataclasses import replace

from safedeploy import roc
from safedeploy.artifacts.base import Artifact
from safedeploy.audit.attempt import Attempt
from safedeploy.audit.exam import Exam
from safedeploy.results import ReferenceEffect


def reference_effect(
    artifact: Artifact, exam: Exam, attempted: Attempt, fprs: Sequence[float]
) -> list[ReferenceEffect]:
    """Every attack that used references, with the first 2, 4, 8, … of them and with all; none where there are none."""
    references, rows = attempted.references, []
    if references is None:
        return []
    count = len(exam.members.y)
    fewer = [2**power for power in range(1, references.count.bit_length()) if 2**power < references.count]
    for attack, scores in attempted.scores.items():
        if not attack.references:
            continue
        for number in [*(few for few in fewer if few >= attack.references), references.count]:
            values = scores.values
            if number < references.count:
                knowledge = replace(exam.knowledge, references=references.take(number))
                values = attack.score(artifact, knowledge, exam.targets).values
            inside, outside = values[:count], values[count:]
            value, low, high = roc.auc_interval(inside, outside)
            rates = [roc.tpr_at_fpr(inside, outside, fpr) for fpr in fprs]
            rows.append(
                ReferenceEffect(attack=attack.name, references=number, auc=value, auc_low=low, auc_high=high, tpr=rates)
            )
    return rows
