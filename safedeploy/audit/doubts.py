"""What makes an audit's figures doubtful: a model that fails its own members, references that know the members."""

import numpy as np
from scipy import stats

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.references import References
from safedeploy.audit.exam import Exam
from safedeploy.errors import UserError
from safedeploy.roc import proportion_interval

TELLING = 0.2  # difference of shares from which a reference is no independent half
SIGNIFICANT = 1e-6


def answers_at_random(artifact: Artifact, exam: Exam) -> str:
    """Why members answered no better than by guessing cannot be judged; empty where they are."""
    count = len(exam.members.y)
    right = int((artifact.logits(exam.targets.x)[:count].argmax(1) == exam.members.y).sum())
    guess = np.bincount(exam.members.y).max() / count
    if proportion_interval(right, count)[0] > guess:
        return ""
    return (
        f"the file answers {right:,} of {count:,} members right ({right / count:.1%}), no better than always naming"
        f" their commonest class ({guess:.1%}): the inputs are probably not prepared as in training, or the labels are"
        " numbered otherwise"
    )


def require_independent(references: References, exam: Exam) -> None:
    """Raises UserError where a reference model trained on far more of the members than of the others, or fewer."""
    member = references.of(exam.targets).member
    count = len(exam.members.y)
    for number, flags in enumerate(member):
        inside, outside = int(flags[:count].sum()), int(flags[count:].sum())
        rates = inside / count, outside / len(exam.nonmembers.y)
        table = np.array([[inside, count - inside], [outside, len(exam.nonmembers.y) - outside]])
        p = stats.fisher_exact(table).pvalue
        if abs(rates[0] - rates[1]) > TELLING and p < SIGNIFICANT:
            raise UserError(
                f"reference {number} trained on {rates[0]:.0%} of the members and {rates[1]:.0%} of the non-members:"
                " references must be drawn independently of both; make them with 'safedeploy references'"
            )
