"""Every attack that can run on a file, run; for each of the others, why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.attacks.base import Attack, Knowledge, Scores
from safedeploy.attacks.references import References
from safedeploy.audit.exam import Exam
from safedeploy.errors import UserError
from safedeploy.results import AttackNotRun

_EXTRA_MODULES = {"train": "torch", "executorch": "executorch", "text": "transformers"}


@dataclass(frozen=True, eq=False)
class Attempt:
    """`scores`: of exam.targets, members first, by attack. `references`: those the attacks had."""

    scores: dict[Attack, Scores]
    not_run: list[AttackNotRun]
    references: References | None = None


def attempt(
    artifact: Artifact,
    exam: Exam,
    attacks: Sequence[Attack],
    references: References | None = None,
    progress: Callable[[float], None] | None = None,
) -> Attempt:
    """`artifact` should remember its answers (`artifacts/remember.py`): the attacks share them.

    Raises UserError where none of `attacks` can run.
    """
    knowledge = replace(exam.knowledge, references=references)
    scores: dict[Attack, Scores] = {}
    not_run: list[AttackNotRun] = []
    for number, attack in enumerate(attacks):
        try:
            if lacking := _lacking(attack, artifact, knowledge):
                raise Unopenable(lacking)
            scores[attack] = attack.score(artifact, knowledge, exam.targets)
        except Unopenable as closed:
            not_run.append(AttackNotRun(name=attack.name, access=attack.access, reason=str(closed)))
        if progress:
            progress((number + 1) / len(attacks))
    if not scores:
        reasons = "; ".join(f"{attack.name}: {attack.reason}" for attack in not_run)
        raise UserError(f"no attack could run on {artifact.name}: {reasons or 'none was asked for'}")
    return Attempt(scores, not_run, references)


def _lacking(attack: Attack, artifact: Artifact, knowledge: Knowledge) -> str:
    """What `attack` needs and is not here, with what to do; empty where nothing lacks."""
    if attack.extra and find_spec(_EXTRA_MODULES[attack.extra]) is None:
        return f"needs the extra '{attack.extra}': python -m pip install 'safedeploy[{attack.extra}]'"
    if attack.queries and getattr(artifact, "tokens", False):
        return "asks about changed inputs, and tokens cannot be changed a little"
    have = knowledge.references.count if knowledge.references else 0
    if have < attack.references:
        make = "make them with 'safedeploy references', or name theirs with --references DIR"
        return f"needs {attack.references} reference models and has {have}: {make}"
    return ""
