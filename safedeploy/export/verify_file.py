"""One file of a bundle, checked in its real runtime: answers, batches, extreme inputs, saturation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from safedeploy.artifacts.base import Array, FileArtifact, Unopenable
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.errors import UserError
from safedeploy.export.hostile import Ask
from safedeploy.export.questions import HOSTILE, NO_TOKENS, Questions
from safedeploy.export.quiet import quiet
from safedeploy.export.saturation import saturation
from safedeploy.export.targets import Precision, Target
from safedeploy.export.verify import compare, require
from safedeploy.results import Answers, BatchAnswers, ExtremeAnswers, FileVerification, Outcome, Saturation
from safedeploy.roc import proportion_interval

SIZES = (1, 2, 3, 7, 33)
INT8_STEPS = 2 / 127  # of the largest logit: a value half-way between two steps may round otherwise in another batch


@dataclass(frozen=True, eq=False)
class Asked:
    """What every file of a bundle is asked. `classes`: how many its answers must have."""

    questions: Questions
    target: Target
    classes: int
    hostile: Ask

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.questions.x.shape[1:]


def verify_file(path: Path, precision: Precision, asked: Asked) -> FileVerification:
    """Every check of a file whose bytes are known to be the ones that ship; none of them raises."""
    with quiet():
        try:
            artifact = open_artifact(path)
        except UserError as error:
            return told(path.name, [Outcome(check="opens", passed=False, detail=str(error))])
        opens = _opens(artifact, asked)
        if not opens.passed:
            return told(path.name, [opens])
        try:
            given = artifact.answers(asked.questions.x)
        except UserError as error:
            return told(path.name, [opens, Outcome(check="answers", passed=False, detail=str(error))])
        answers, compared = _answers(artifact, given, precision, asked)
        if not np.isfinite(given).all():
            return told(path.name, [opens, compared])
        batches, alike = _batches(artifact, given, precision, asked)
        extremes, sane = _extremes(artifact, path, precision, asked)
        lost, held = _saturation(path, precision, asked)
    return told(path.name, [opens, compared, alike, sane, held], answers, batches, extremes, lost)


def told(
    name: str,
    outcomes: list[Outcome],
    answers: Answers | None = None,
    batches: list[BatchAnswers] | None = None,
    extremes: list[ExtremeAnswers] | None = None,
    lost: Saturation | None = None,
) -> FileVerification:
    return FileVerification(
        name=name,
        passed=all(one.passed is not False for one in outcomes),
        outcomes=outcomes,
        answers=answers,
        batches=batches or [],
        extremes=extremes or [],
        saturation=lost,
    )


def _opens(artifact: FileArtifact, asked: Asked) -> Outcome:
    is_it = artifact.input_shape, artifact.classes
    should = asked.input_shape, asked.classes
    told = f"takes (n, {', '.join(map(str, is_it[0]))}), tells {is_it[1]} classes apart"
    if is_it != should:
        told += f"; the manifest says (n, {', '.join(map(str, should[0]))}) and {should[1]}"
    return Outcome(check="opens", passed=is_it == should, detail=told)


def _answers(
    artifact: FileArtifact, given: Array, precision: Precision, asked: Asked
) -> tuple[Answers | None, Outcome]:
    """The comparison with the torch model; without it, whether the answers are finite."""
    x, known = asked.questions.x, asked.questions.known
    bad = int((~np.isfinite(given)).any(axis=1).sum())
    if bad:
        return None, Outcome(
            check="answers", passed=False, detail=f"answers NaN or infinity for {bad} of {len(x)} inputs"
        )
    if known is None:
        return None, Outcome(check="answers", passed=True, detail=f"finite on {asked.questions.described}")
    found = compare(given, known.logits, known.y)
    low, high = proportion_interval(round(found.accuracy * found.samples), found.samples)
    torch_low, torch_high = proportion_interval(round(found.torch_accuracy * found.samples), found.samples)
    answers = Answers(
        **found.model_dump(),
        accuracy_low=low,
        accuracy_high=high,
        torch_accuracy_low=torch_low,
        torch_accuracy_high=torch_high,
    )
    detail = (
        f"accuracy {found.accuracy:.3f} [{low:.3f}, {high:.3f}], torch {found.torch_accuracy:.3f}; "
        f"top-1 agreement {found.top1_agreement:.4f}, largest logit difference {found.max_logit_difference:.2g}"
    )
    try:
        require(found, artifact.name, precision, asked.target, known.logits)
    except UserError as error:
        return answers, Outcome(check="answers", passed=False, detail=str(error).removeprefix(f"{artifact.name} "))
    return answers, Outcome(check="answers", passed=True, detail=f"{detail} on {asked.questions.described}")


def _allowed(precision: Precision, asked: Asked) -> float:
    """How far, as a share of the largest logit, one file's answers to the same input may differ."""
    return asked.target.tolerance.float32.logit_difference if precision == "float32" else INT8_STEPS


def _batches(
    artifact: FileArtifact, given: Array, precision: Precision, asked: Asked
) -> tuple[list[BatchAnswers], Outcome]:
    """Every size of batch gives an input the answer it gets among all others."""
    sizes, scale = (artifact.batch,) if artifact.fixed_batch else SIZES, float(np.abs(given).max())
    found: list[BatchAnswers] = []
    for size in sizes:
        rows = np.resize(np.arange(len(given)), size)
        try:
            answers = artifact.answers(asked.questions.x[rows])
        except UserError as error:
            return found, Outcome(check="batches", passed=False, detail=str(error))
        far = float(np.abs(answers - given[rows]).max())
        found.append(BatchAnswers(size=size, max_logit_difference=far if np.isfinite(far) else None))
        if not far <= _allowed(precision, asked) * scale:
            said = f"a batch of {size} answers otherwise, by {far:.2g} (largest logit {scale:.3g})"
            return found, Outcome(check="batches", passed=False, detail=said)
    named = f"the fixed batch, {artifact.batch}" if artifact.fixed_batch else f"batches of {', '.join(map(str, sizes))}"
    return found, Outcome(check="batches", passed=True, detail=f"the same answers in {named}")


def _extremes(
    artifact: FileArtifact, path: Path, precision: Precision, asked: Asked
) -> tuple[list[ExtremeAnswers], Outcome]:
    """Finite inputs get the torch model's answers (float32) or finite ones, however large; none ends the runtime."""
    found: list[ExtremeAnswers] = []
    faults: list[str] = []
    for name, x in asked.questions.extremes().items():
        try:
            given = artifact.answers(x)
        except UserError as error:
            found.append(ExtremeAnswers(input=name, answers="refused"))
            faults.append(f"'{name}' is refused: {error}")
            continue
        one, fault = _extreme(name, path, x, given, precision, asked)
        found.append(one)
        faults += fault
    try:
        found += asked.hostile(path)
    except UserError as error:
        faults.append(f"cannot be opened in a process of its own: {error}")
    faults += [f"the runtime crashes on {one.input}" for one in found if one.answers == "crashed"]
    if faults:
        return found, Outcome(check="extremes", passed=False, detail=faults[0])
    told = ", ".join(f"{one.input}: {one.answers}" for one in found if one.input in {**HOSTILE, **NO_TOKENS})
    return found, Outcome(check="extremes", passed=True, detail=f"finite inputs as they should; answers to {told}")


def _extreme(
    name: str, path: Path, x: Array, given: Array, precision: Precision, asked: Asked
) -> tuple[ExtremeAnswers, list[str]]:
    known = asked.questions.known
    wanted = None if known is None else known.answer(x)
    finite = bool(np.isfinite(given).all())
    answers, torch = _word(finite), None if wanted is None else _word(bool(np.isfinite(wanted).all()))
    difference = float(np.abs(given - wanted).max()) if wanted is not None and finite and torch == "finite" else None
    one = ExtremeAnswers(input=name, answers=answers, torch=torch, max_logit_difference=difference)
    if not finite and torch != "not finite":
        return one, [f"'{name}' gets NaN or infinity"]
    rounded = precision != "float32" or asked.target.rounding(path.name) is not None
    if rounded or difference is None or known is None or wanted is None:
        return one, []
    scale = float(np.abs(wanted).max())
    if difference > _allowed(precision, asked) * max(scale, 1e-6) and difference > known.rounding(x):
        return one, [f"'{name}' is answered otherwise than by torch, by {difference:.2g} (largest logit {scale:.3g})"]
    return one, []


def _word(finite: bool) -> Literal["finite", "not finite"]:
    return "finite" if finite else "not finite"


def _saturation(path: Path, precision: Precision, asked: Asked) -> tuple[Saturation | None, Outcome]:
    name = "saturation"
    if precision == "float32":
        return None, Outcome(check=name, passed=None, detail="float32: nothing is rounded")
    if asked.questions.known is None:
        return None, Outcome(check=name, passed=None, detail="random inputs say nothing about real ranges")
    try:
        found = saturation(path, asked.questions.x)
    except Unopenable as reason:
        return None, Outcome(check=name, passed=None, detail=str(reason))
    limit = asked.target.tolerance.int8.saturation
    said = f"{found.activations:.2%} of the activations clipped, {found.worst_share:.2%} of '{found.worst}'"
    if found.worst_share > limit:
        return found, Outcome(
            check=name, passed=False, detail=f"{said}; target '{asked.target.name}' allows {limit:.2%}"
        )
    return found, Outcome(check=name, passed=True, detail=said)
