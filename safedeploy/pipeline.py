"""The stages of a run: compress, export, audit, bench, report; what an earlier one left is kept while it is good."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safedeploy.artifacts.info import artifact_info
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.compression import (
    Examples,
    PathLike,
    Progress,
    compress,
    load,
    load_examples,
    prepared,
    resume,
    silent,
    target_name,
    train_run,
)
from safedeploy.data.dataset import preprocessing
from safedeploy.data.samples import check_disjoint, read_samples
from safedeploy.errors import UserError
from safedeploy.recipe import MethodRecipe, Recipe, read_recipe
from safedeploy.results import DenseControl, Evidence, Inspection, Manifest, Timing
from safedeploy.rundir import RunDir, open_run, require_writable, run_of_artifact, write_text

if TYPE_CHECKING:
    from safedeploy.audit.exam import Exam

__all__ = [
    "Progress",
    "audit",
    "bench",
    "compress",
    "exam_of_run",
    "export",
    "inspect",
    "load",
    "report",
    "resume",
    "run",
]


def export(root: PathLike, target: str | None = None, *, progress: Progress = silent) -> Manifest:
    """Write the bundle of a run for `target` (the recipe's by default): every file verified in its real runtime."""
    from safedeploy.export.bundle import export_bundle
    from safedeploy.export.targets import load_target

    run = open_run(Path(root))
    recipe = read_recipe(run.recipe)
    wanted = load_target(target or recipe.target)
    module, examples = load(root), load_examples(run)
    validation = examples.samples("validation")
    return export_bundle(
        module,
        run.bundle(wanted.name),
        wanted,
        model_name=recipe.model.name,
        preprocessing=preprocessing(examples.dataset, examples.split),
        class_names=examples.dataset.class_names,
        calibration=validation.x,
        x=validation.x,
        y=validation.y,
        progress=progress(f"export for {wanted.name}"),
    )


def audit(
    path: PathLike,
    *,
    members: PathLike | None = None,
    nonmembers: PathLike | None = None,
    dense: PathLike | None = None,
    budget: Mapping[str, float] | None = None,
    data_root: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Evidence:
    """Attack the file `path`. In a bundle its run's split says who was a member, else two .npz files do.

    `seed`: of the attacker's own draws; None is the run's, and 0 without a run.
    """
    from safedeploy.audit.exam import halved

    path, dense = Path(path), None if dense is None else Path(dense)
    artifact = open_artifact(path)
    run = run_of_artifact(path)
    if (members is None) != (nonmembers is None):
        raise UserError("--members and --nonmembers go together")
    if members is not None and nonmembers is not None:
        takes: dict[str, Any] = {"input_shape": artifact.input_shape, "classes": artifact.classes}
        inside, outside = read_samples(Path(members), **takes), read_samples(Path(nonmembers), **takes)
        check_disjoint(inside, outside)
        exam = halved(inside, outside, tuple(str(label) for label in range(artifact.classes)), seed or 0)
        return _audit(path, exam, budget or {}, dense or "no dense control was given: --dense FILE", progress)
    if run is None:
        raise UserError(f"{path} is not in a run's bundle: give --members and --nonmembers (.npz with x and y)")
    exam = exam_of_run(run, data_root, seed)
    place = run.evidence(path.resolve().parent.name, path.name)
    require_writable(place)
    whose = run if seed is None else None  # the control's kept evidence is of the run's own seed
    evidence = _audit(path, exam, _budget(run, budget), dense or _control_file(run, path), progress, whose)
    evidence.write(place)
    return evidence


def exam_of_run(run: RunDir, data_root: str | None = None, seed: int | None = None) -> "Exam":
    """What every file of a run is asked: its evaluation roles, with the known roles as the attacker's knowledge."""
    return _exam(load_examples(run, data_root), read_recipe(run.recipe).seed if seed is None else seed)


def _exam(examples: Examples, seed: int) -> "Exam":
    from safedeploy.attacks.base import Knowledge
    from safedeploy.audit.exam import Exam

    knowledge = Knowledge(examples.samples("member_known"), examples.samples("nonmember_known"), seed)
    return Exam(
        knowledge,
        examples.samples("member_eval"),
        examples.samples("nonmember_eval"),
        examples.dataset.class_names,
        examples.samples("test"),
    )


def bench(
    files: Sequence[PathLike],
    *,
    protocol: Literal["quick", "full"] = "quick",
    threads: int = 1,
    progress: Progress = silent,
) -> list[Timing]:
    """Time files on this machine, alternating where there are several; a bundle's file gets its timing into its run."""
    from safedeploy.bench.protocol import bench as time_files

    paths = [Path(file) for file in files]
    stage = progress(f"time {len(paths)} file{'s' * (len(paths) > 1)}")
    timings = time_files(paths, protocol=protocol, threads=threads, progress=stage)
    for path, timing in zip(paths, timings, strict=True):
        if run := run_of_artifact(path):
            timing.write(run.timing(path.resolve().parent.name, path.name))
    return timings


def inspect(path: PathLike) -> Inspection:
    """What a model file holds: input, classes, operators, stored tensors."""
    from safedeploy.artifacts.inspect import inspect as inspect_file

    return inspect_file(Path(path))


def report(root: PathLike) -> Path:
    """Write report.html from the result files of a run; nothing is computed afresh."""
    from safedeploy.report.contents import read_run
    from safedeploy.report.html import render_html

    run = open_run(Path(root))
    write_text(run.report, render_html(read_run(run)))
    return run.report


def run(recipe: Recipe, runs: PathLike = "runs", *, fresh: bool = False, progress: Progress = silent) -> RunDir:
    """The whole road: a dense control and the method, trained equally long on one split, exported, audited and timed.

    What an earlier, cut-off run of the same recipe left good is kept; `fresh` starts over.
    """
    import shutil

    made = RunDir(Path(runs) / recipe.name)
    kept = made.recipe.exists() and not fresh
    if kept and read_recipe(made.recipe) != recipe:
        raise UserError(f"{made.root} holds a run of another recipe: choose another --name, or --fresh to replace it")
    target = target_name(recipe.target)
    if not kept or not made.summary.exists():  # what would fail after the control's training fails before it
        examples, _, _ = prepared(recipe, made if kept else None)
        _exam(examples, recipe.seed)
        if fresh and made.recipe.exists():
            shutil.rmtree(made.root)
        recipe.write(made.recipe)
        examples.split.write(made.split)
    dense = recipe.model_copy(update={"name": "dense", "method": MethodRecipe(name="dense", density=1.0)})
    parts = [(made.control, dense), (made, recipe)]
    for part, its_recipe in parts:
        if not part.summary.exists():
            train_run(part, its_recipe, progress)
    exam, timed = exam_of_run(made), []
    for part, _ in parts:
        titled, folder = _titled(progress, part), part.bundle(target)
        if not (folder / "manifest.json").exists():
            export(part.root, progress=titled)
        for file in Manifest.read(folder / "manifest.json").files:
            path, place = folder / file.name, part.evidence(target, file.name)
            if not _is_of(place, path, Evidence) or Evidence.read(place).verdict.budget != recipe.audit.budget:
                _audit(path, exam, recipe.audit.budget, _control_file(part, path), titled, made).write(place)
            timed.append((path, part.timing(target, file.name)))
    if not all(_is_of(place, path, Timing) for path, place in timed):
        files = [path for path, _ in timed]
        bench(files, protocol=recipe.bench.protocol, threads=recipe.bench.threads, progress=progress)
    report(made.root)
    return made


def _audit(
    path: Path,
    exam: "Exam",
    budget: Mapping[str, float],
    dense: Path | str,
    progress: Progress,
    run: RunDir | None = None,
) -> Evidence:
    """Evidence on a file. `dense`: the control's file, or why there is none; `run`: whose samples `exam` has."""
    from safedeploy.audit.audit import audit as audit_artifact

    control: DenseControl | str = dense if isinstance(dense, str) else _dense_control(dense, exam, run, progress)
    return audit_artifact(
        open_artifact(path),
        artifact_info(path),
        exam,
        budget=budget,
        dense=control,
        progress=progress(f"audit {path.name}"),
    )


def _dense_control(path: Path, exam: "Exam", run: RunDir | None, progress: Progress) -> DenseControl:
    """The control's evidence: what `run` already holds on this very file, else attacked now.

    Another run's evidence on the file would be on another split's samples.
    """
    kept = run.control.evidence(path.parent.name, path.name) if run and path.is_relative_to(run.control.root) else None
    if kept and _is_of(kept, path, Evidence):
        evidence = Evidence.read(kept)
    else:
        evidence = _audit(path, exam, {}, "this is the dense control itself", _titled(progress, "dense"))
    return DenseControl(artifact=evidence.artifact, task=evidence.task, attacks=evidence.attacks)


def _control_file(run: RunDir, path: Path) -> Path | str:
    """The dense control's file that corresponds to `path` of `run`, or why there is none."""
    if run.is_control:
        return "this is the dense control itself"
    control = run.control.bundle(path.resolve().parent.name) / path.name
    if control.is_file():
        return control
    return "no dense control in the run: 'safedeploy run' trains and exports one, or give --dense FILE"


def _budget(run: RunDir, budget: Mapping[str, float] | None) -> Mapping[str, float]:
    return read_recipe(run.recipe).audit.budget if budget is None else budget


def _is_of(result: Path, artifact: Path, kind: type[Evidence] | type[Timing]) -> bool:
    """Whether `result` was made from the file as it is now."""
    return result.is_file() and kind.read(result).artifact.sha256 == artifact_info(artifact).sha256


def _titled(progress: Progress, part: RunDir | str) -> Progress:
    name = part if isinstance(part, str) else part.root.name
    return lambda stage: progress(f"{stage} ({name})")
