"""The audit stage: the samples and references a file is asked with, its dense control, where its evidence goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.artifacts.info import artifact_info
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.artifacts.remember import remember
from safedeploy.compression import Examples, PathLike, Progress, load_examples, silent
from safedeploy.data.samples import check_disjoint, read_samples, sample_shape, with_sensitive
from safedeploy.data.split import read_split
from safedeploy.errors import UserError
from safedeploy.recipe import read_recipe
from safedeploy.results import ArtifactInfo, CanaryEvidence, Comparison, DenseControl, Evidence, Timing
from safedeploy.rundir import RunDir, require_writable, run_of_artifact, sha256

if TYPE_CHECKING:
    from safedeploy.attacks.base import Attack
    from safedeploy.attacks.references import References
    from safedeploy.audit.attempt import Attempt
    from safedeploy.audit.exam import Exam


@dataclass(frozen=True)
class Asked:
    """How a file is to be audited, whatever the file. `references`: their folder; None looks in the file's run."""

    budget: Mapping[str, float]
    attacks: "tuple[Attack, ...]"
    references: Path | None = None


@dataclass(frozen=True)
class Audits:
    """Evidence on every file, and for every file but the first how its attacks differ from the first file's.

    `members`: by the index that evidence gives them, the members judged, where their inputs are known.
    """

    evidence: list[Evidence]
    comparisons: list[Comparison]
    members: Mapping[int, Array] = field(default_factory=dict)


def audit(path: PathLike, *, progress: Progress = silent, **options: Any) -> Evidence:
    """Attack the file `path`: `audit_files` of one file, with its options."""
    return audit_files([path], progress=progress, **options).evidence[0]


def audit_files(
    paths: Sequence[PathLike],
    *,
    members: PathLike | None = None,
    nonmembers: PathLike | None = None,
    dense: PathLike | None = None,
    budget: Mapping[str, float] | None = None,
    attacks: Sequence[str] | None = None,
    references: PathLike | None = None,
    output: str | None = None,
    canaries: bool = False,
    data_root: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Audits:
    """Attack files on the same samples. In a bundle the run's split says who was a member, else two .npz files do.

    `budget`, `attacks` and `seed` (of the attacker's own draws) are by default those of the run's recipe, and without a
    run none, the standard ones and 0. `output`: an ONNX file's that answers, where several could. Evidence on a run's
    own file is kept in the run. Raises UserError for bad input, before any attack.
    """
    from safedeploy.attacks.membership import select
    from safedeploy.audit.budget import check_budget
    from safedeploy.audit.reference_store import require_references

    files = [Path(path) for path in paths]
    run = run_of_artifact(files[0]) if members is None and nonmembers is None else None
    check_budget(wanted := _budget(run, budget))
    asked = Asked(wanted, select(attacks or _usual(run)), None if references is None else Path(references))
    if asked.references is not None:
        require_references(asked.references)
    artifacts, exam, examples = questioned(files, members, nonmembers, output, data_root, seed)
    if canaries and (examples is None or examples.canaries is None):
        raise UserError(f"{files[0]} is not known to hold canaries: train with 'safedeploy compress --canaries 1000'")
    places = [_place(file) if run else None for file in files]
    for place in places:
        if place is not None:
            require_writable(place)
    evidence, attempts = [], []
    for file, artifact, place in zip(files, artifacts, places, strict=True):
        control = Path(dense) if dense is not None else _control_of(file, run)
        whose = run if seed is None else None  # the control's kept evidence is of the run's own seed
        found, attempted = audit_file(file, exam, asked, control, progress, whose, artifact)
        if examples is not None and examples.canaries is not None:
            found = found.model_copy(update={"canaries": _canaries(artifact, examples, exam.knowledge.seed)})
        if place is not None:
            found.write(place)
        evidence.append(found)
        attempts.append(attempted)
    compared = [row for other in range(1, len(files)) for row in _compared(files, attempts, exam, other)]
    index = range(len(exam.members.y)) if exam.member_index is None else exam.member_index.tolist()
    return Audits(evidence, compared, dict(zip(index, exam.members.x, strict=True)))


def questioned(
    files: Sequence[Path],
    members: PathLike | None = None,
    nonmembers: PathLike | None = None,
    output: str | None = None,
    data_root: str | None = None,
    seed: int | None = None,
) -> "tuple[list[Artifact], Exam, Examples | None]":
    """The files opened, what all of them are asked, and the run's examples where its split says who was a member.

    Raises UserError for bad input.
    """
    if (members is None) != (nonmembers is None):
        raise UserError("--members and --nonmembers go together")
    shape = None if members is None else sample_shape(Path(members))
    artifacts: list[Artifact] = [open_artifact(file, output=output, shape=shape) for file in files]
    if members is not None and nonmembers is not None:
        return artifacts, _given_exam(artifacts, Path(members), Path(nonmembers), seed or 0), None
    run = run_of_artifact(files[0])
    if run is None:
        raise UserError(f"{files[0]} is not in a run's bundle: give --members and --nonmembers (.npz with x and y)")
    _same_split(run, files)
    examples = load_examples(run, data_root)
    return artifacts, exam_of(examples, read_recipe(run.recipe).seed if seed is None else seed), examples


def audit_scores(
    path: PathLike,
    *,
    budget: Mapping[str, float] | None = None,
    attacks: Sequence[str] | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Audits:
    """Judge answers recorded elsewhere (`audit/scores.py` says what the .npz holds); no model is opened."""
    from safedeploy.artifacts.info import zip_bytes
    from safedeploy.attacks.membership import select
    from safedeploy.audit.attempt import attempt
    from safedeploy.audit.audit import evidence
    from safedeploy.audit.exam import halved
    from safedeploy.audit.scores import read_scores

    path = Path(path)
    recorded = read_scores(path)
    artifact = remember(recorded.artifact)
    exam = halved(recorded.members, recorded.nonmembers, _numbered(artifact.classes), seed or 0)
    attempted = attempt(
        artifact, exam, select(attacks or _usual(None)), recorded.references, progress(f"audit {path.name}")
    )
    info = ArtifactInfo(
        path=str(path),
        sha256=sha256(path),
        format="scores",
        size_bytes=path.stat().st_size,
        zip_bytes=zip_bytes([path]),
    )
    dense, blind = (f"recorded answers come without {what}" for what in ("a dense control", "the inputs"))
    return Audits([evidence(artifact, info, exam, attempted, budget or {}, dense, no_blind=blind)], [])


def exam_of_run(run: RunDir, data_root: str | None = None, seed: int | None = None) -> "Exam":
    """What every file of a run is asked: its evaluation roles, with the known roles as the attacker's knowledge."""
    return exam_of(load_examples(run, data_root), read_recipe(run.recipe).seed if seed is None else seed)


def exam_of(examples: Examples, seed: int) -> "Exam":
    from safedeploy.attacks.base import Knowledge
    from safedeploy.audit.exam import Exam
    from safedeploy.audit.withheld import require_told

    knowledge = Knowledge(examples.samples("member_known"), examples.samples("nonmember_known"), seed)
    exam = Exam(
        knowledge,
        examples.samples("member_eval"),
        examples.samples("nonmember_eval"),
        examples.dataset.class_names,
        examples.samples("test"),
        examples.split.indices("member_eval"),
        examples.dataset.sensitive,
    )
    require_told(exam)
    return exam


def audit_file(
    path: Path,
    exam: "Exam",
    asked: Asked,
    dense: Path | str,
    progress: Progress,
    run: RunDir | None = None,
    artifact: Artifact | None = None,
) -> "tuple[Evidence, Attempt]":
    """Evidence on a file. `dense`: the control's file, or why there is none; `run`: whose samples `exam` has."""
    from safedeploy.audit.attempt import attempt
    from safedeploy.audit.audit import evidence
    from safedeploy.audit.doubts import require_independent
    from safedeploy.audit.withheld import audit_withheld

    opened = artifact or open_artifact(path)
    artifact = remember(opened)
    references, note = references_for(path, opened, asked)
    control: DenseControl | str = dense if isinstance(dense, str) else _dense_control(dense, exam, asked, run, progress)
    if references is not None:
        require_independent(references, exam)
    attempted = attempt(artifact, exam, asked.attacks, references, progress(f"audit {path.name}"))
    notes = [note for note in (*_manners(opened), note) if note]
    found = evidence(artifact, artifact_info(path), exam, attempted, asked.budget, control, notes=notes)
    if exam.withheld is not None:
        stage = progress(f"infer column {exam.withheld.column} from {path.name}")
        found = found.model_copy(update={"attribute": audit_withheld(artifact, exam, progress=stage)})
    return found, attempted


def _canaries(artifact: Artifact, examples: Examples, seed: int) -> CanaryEvidence:
    from safedeploy.audit.canary import canary_evidence

    drawn = examples.canaries
    assert drawn is not None
    return canary_evidence(artifact, examples.at(drawn.index, drawn.label), drawn.included, drawn.kind, seed)


def _manners(artifact: Artifact) -> list[str]:
    """How the file answers, where that is not in logits."""
    if getattr(artifact, "labels_only", False):
        return ["the file answers labels alone: attacks on probabilities see 0 and 1"]
    if getattr(artifact, "probabilities", False):
        return ["the file answers probabilities: their logarithms serve as logits"]
    return []


def control_file(run: RunDir, path: Path) -> Path | str:
    """The dense control's file that corresponds to `path` of `run`, or why there is none."""
    if run.is_control:
        return "this is the dense control itself"
    control = run.control.bundle(path.resolve().parent.name) / path.name
    if control.is_file():
        return control
    return "no dense control in the run: 'safedeploy run' trains and exports one, or give --dense FILE"


def is_of(result: Path, artifact: Path, kind: type[Evidence] | type[Timing]) -> bool:
    """Whether `result` was made from the file as it is now."""
    return result.is_file() and kind.read(result).artifact.sha256 == artifact_info(artifact).sha256


def titled(progress: Progress, part: RunDir | str) -> Progress:
    name = part if isinstance(part, str) else part.root.name
    return lambda stage: progress(f"{stage} ({name})")


def attacked_alike(evidence: Evidence, path: Path, asked: Asked) -> bool:
    """Whether `evidence` is of the attacks asked for, with as many reference models as there are now for `path`."""
    tried = {attack.name for attack in evidence.attacks} | {attack.name for attack in evidence.not_run}
    used = max((attack.references for attack in evidence.attacks), default=0)
    references, _ = references_for(path, open_artifact(path), asked)
    return tried == {attack.name for attack in asked.attacks} and used == (references.count if references else 0)


def _dense_control(path: Path, exam: "Exam", asked: Asked, run: RunDir | None, progress: Progress) -> DenseControl:
    """The control's evidence: what `run` already holds on this very file, else attacked now.

    Another run's evidence on the file would be on another split's samples.
    """
    kept = run.control.evidence(path.parent.name, path.name) if run and path.is_relative_to(run.control.root) else None
    folder = asked.references and asked.references / "dense"  # the audited model's own references are not the control's
    asked = replace(asked, budget={}, references=folder if folder and folder.is_dir() else None)
    evidence = Evidence.read(kept) if kept and is_of(kept, path, Evidence) else None
    if evidence is None or not attacked_alike(evidence, path, asked):
        evidence, _ = audit_file(path, exam, asked, "this is the dense control itself", titled(progress, "dense"))
    return DenseControl(artifact=evidence.artifact, task=evidence.task, attacks=evidence.attacks)


def references_for(path: Path, artifact: Artifact, asked: Asked) -> "tuple[References | None, str]":
    """The reference models for a file, and in words which: those asked for, else its run's own where there are some."""
    from safedeploy.audit.reference_store import load_references

    run = run_of_artifact(path)
    folder = asked.references or (run.references if run and run.references.is_dir() else None)
    if folder is None or not any(attack.references for attack in asked.attacks):
        return None, ""
    name = path.name if run else None  # a stranger's name says nothing of its precision
    quantised = bool(getattr(artifact, "quantised", False))
    references, described, note = load_references(folder, name, quantised=quantised)
    if asked.references is not None:
        whose = f"the reference models are {described.model}, {described.method}, made for {described.made_for}"
        note = f"{note}; {whose}: the more like the audited model, the stronger the attacks"
    return references, note


def _given_exam(artifacts: Sequence[Artifact], members: Path, nonmembers: Path, seed: int) -> "Exam":
    from safedeploy.artifacts.onnx import OnnxArtifact
    from safedeploy.audit.exam import halved
    from safedeploy.audit.withheld import require_told

    first = artifacts[0]
    for artifact in artifacts[1:]:
        if (artifact.input_shape, artifact.classes) != (first.input_shape, first.classes):
            raise UserError(f"{artifact.name} and {first.name} take other inputs or classes: audit them one by one")
    takes: dict[str, Any] = {"input_shape": first.input_shape, "classes": first.classes}
    if isinstance(first, OnnxArtifact):
        takes["inputs"] = first.inputs.names
    inside, outside = (read_samples(path, **takes) for path in (members, nonmembers))
    check_disjoint(inside, outside)
    (inside, outside), withheld = with_sensitive((members, nonmembers), (inside, outside))
    exam = halved(inside, outside, _numbered(first.classes), seed, withheld)
    require_told(exam)
    return exam


def _numbered(classes: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(classes))


def _same_split(run: RunDir, files: Sequence[Path]) -> None:
    """Raises UserError where a file's members are not those of `run`."""
    role = read_split(run.split).role
    for file in files[1:]:
        other = run_of_artifact(file)
        if other is None or not np.array_equal(read_split(other.split).role, role):
            raise UserError(f"{file} was not trained on the split of {run.root}: audit it alone, or give --members")


def _place(path: Path) -> Path:
    run = run_of_artifact(path)
    assert run is not None
    return run.evidence(path.resolve().parent.name, path.name)


def _control_of(path: Path, run: RunDir | None) -> Path | str:
    own = run_of_artifact(path) if run else None
    return control_file(own, path) if own else "no dense control was given: --dense FILE"


def _budget(run: RunDir | None, budget: Mapping[str, float] | None) -> Mapping[str, float]:
    """What was asked for, else the recipe's, else that of the run's target."""
    from safedeploy.export.targets import is_path, target_of_run

    if budget is not None or run is None:
        return budget or {}
    recipe = read_recipe(run.recipe)
    if recipe.audit.budget or (is_path(recipe.target) and not run.target.is_file()):  # a run older than such copies
        return recipe.audit.budget
    return target_of_run(run, recipe.target).budget.privacy


def _usual(run: RunDir | None) -> Sequence[str]:
    return read_recipe(run.recipe).audit.attacks if run else ("standard",)


def _compared(files: Sequence[Path], attempts: "Sequence[Attempt]", exam: "Exam", other: int) -> list[Comparison]:
    from safedeploy.audit.compare import compare

    return compare(str(files[0]), attempts[0], str(files[other]), attempts[other], exam)
