"""One file audited: every attack that can run on it, the controls beside them, and the verdict."""

from collections.abc import Callable, Mapping, Sequence

from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Attack
from safedeploy.attacks.membership import STANDARD
from safedeploy.audit.attempt import Attempt, attempt
from safedeploy.audit.budget import check_budget, fprs
from safedeploy.audit.doubts import answers_at_random
from safedeploy.audit.effect import reference_effect
from safedeploy.audit.exam import Exam
from safedeploy.audit.judge import FPRS, judge
from safedeploy.audit.same import same_control
from safedeploy.audit.verdict import decide
from safedeploy.results import (
    ArtifactInfo,
    Controls,
    CorrectnessControl,
    DenseControl,
    Evidence,
    SampleCounts,
    Task,
)
from safedeploy.roc import mean_of_proportions_interval
from safedeploy.versions import versions


def audit(
    artifact: Artifact,
    info: ArtifactInfo,
    exam: Exam,
    *,
    budget: Mapping[str, float],
    dense: DenseControl | str,
    attacks: Sequence[Attack] = STANDARD,
    progress: Callable[[float], None] | None = None,
) -> Evidence:
    """Attack `artifact` and judge it. Raises UserError where none of `attacks` can run."""
    check_budget(budget)
    artifact = remember(artifact)
    return evidence(artifact, info, exam, attempt(artifact, exam, attacks, None, progress), budget, dense)


def evidence(
    artifact: Artifact,
    info: ArtifactInfo,
    exam: Exam,
    attempted: Attempt,
    budget: Mapping[str, float],
    dense: DenseControl | str,
    *,
    no_blind: str = "",
    notes: Sequence[str] = (),
) -> Evidence:
    """What the attacks' scores say.

    `dense`: the dense control's own evidence, or why there is none. `no_blind`: why there can be no blind control.
    """
    asked = list(dict.fromkeys([*FPRS, *fprs(budget)]))
    found, null = judge(attempted.scores, exam, asked, attempted.references, inputs=not no_blind)
    samples = SampleCounts(members=len(exam.members.y), nonmembers=len(exam.nonmembers.y))
    missing = {"dense": dense if isinstance(dense, str) else "", "blind": no_blind}
    controls = Controls(
        correctness=correctness_control(artifact, exam),
        blind=None if no_blind else exam.blind,
        dense=None if isinstance(dense, str) else dense,
        same=same_control(attempted.scores, exam),
        references=reference_effect(artifact, exam, attempted, asked),
        missing={name: reason for name, reason in missing.items() if reason},
    )
    verdict = decide(found, budget, controls.blind, null=null, samples=samples)
    doubt = answers_at_random(artifact, exam)
    if doubt and verdict.outcome == "pass":
        verdict = verdict.model_copy(update={"outcome": "inconclusive", "reason": doubt})
    return Evidence(
        artifact=info,
        samples=samples,
        known=SampleCounts(members=len(exam.knowledge.members.y), nonmembers=len(exam.knowledge.nonmembers.y)),
        task=task(artifact, exam),
        attacks=found,
        not_run=attempted.not_run,
        controls=controls,
        verdict=verdict,
        null=null,
        notes=[*notes, *([doubt] if doubt else [])],
        versions=versions(),
    )


def task(artifact: Artifact, exam: Exam) -> Task:
    """The artifact's own accuracy on the members and non-members judged, and on `test`."""
    correct = _correct(artifact, exam)
    test = exam.test
    return Task(
        member_accuracy=correct[0] / len(exam.members.y),
        nonmember_accuracy=correct[1] / len(exam.nonmembers.y),
        test_accuracy=None if test is None else float((artifact.logits(test.x).argmax(1) == test.y).mean()),
    )


def correctness_control(artifact: Artifact, exam: Exam) -> CorrectnessControl:
    """'Member if right' has balanced accuracy ½ (1 + member accuracy − non-member accuracy) (Yeom et al. 2018)."""
    inside, outside = _correct(artifact, exam)
    members, nonmembers = len(exam.members.y), len(exam.nonmembers.y)
    value, low, high = mean_of_proportions_interval((inside, members), (nonmembers - outside, nonmembers))
    return CorrectnessControl(attack_accuracy=value, low=low, high=high)


def _correct(artifact: Artifact, exam: Exam) -> tuple[int, int]:
    """Right predictions among members and among non-members."""
    right = artifact.logits(exam.targets.x).argmax(1) == exam.targets.y
    count = len(exam.members.y)
    return int(right[:count].sum()), int(right[count:].sum())
