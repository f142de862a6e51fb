"""The stages of a run: compress, export, audit, bench, report; what an earlier one left is kept while it is good."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from safedeploy.agreement import agree
from safedeploy.auditing import (
    Asked,
    attacked_alike,
    audit,
    audit_file,
    audit_files,
    audit_scores,
    control_file,
    exam_of,
    exam_of_run,
    is_of,
    titled,
)
from safedeploy.bench.devices.base import Device
from safedeploy.compression import (
    PathLike,
    Progress,
    compress,
    load,
    load_examples,
    prepared,
    resume,
    silent,
    train_run,
)
from safedeploy.errors import UserError
from safedeploy.inference import attribute, inversion
from safedeploy.planning import plan
from safedeploy.recipe import MethodRecipe, Recipe, read_recipe
from safedeploy.references import make_references
from safedeploy.results import Evidence, Inspection, Manifest, Timing
from safedeploy.rundir import RunDir, open_run, run_of_artifact, write_text
from safedeploy.verification import verify

__all__ = [
    "Progress",
    "agree",
    "attribute",
    "audit",
    "audit_files",
    "audit_scores",
    "bench",
    "compress",
    "exam_of_run",
    "export",
    "inspect",
    "inversion",
    "load",
    "make_references",
    "plan",
    "report",
    "resume",
    "run",
    "verify",
]


def export(root: PathLike, target: str | None = None, *, progress: Progress = silent) -> Manifest:
    """Write the bundle of a run for `target` (the recipe's by default): every file verified in its real runtime."""
    from safedeploy.export.bundle import export_bundle
    from safedeploy.export.calibration import divide
    from safedeploy.export.targets import load_target, target_of_run

    run = open_run(Path(root))
    recipe = read_recipe(run.recipe)
    wanted = load_target(target) if target else target_of_run(run, recipe.target)
    trained, examples = load(root), load_examples(run)
    from safedeploy.sparsity.structure import as_shipped  # imports torch, which `load` asks for in words

    validation = examples.samples("validation")
    calibrate, judge = divide(len(validation.y))
    return export_bundle(
        as_shipped(trained, examples.dataset.input_shape, recipe.method.structure),
        run.bundle(wanted.name),
        wanted,
        model_name=recipe.model.name,
        preprocessing=examples.preprocessing,
        class_names=examples.dataset.class_names,
        calibration=validation.x[calibrate],
        x=validation.x[judge],
        y=validation.y[judge],
        structure=recipe.method.structure,
        trained=trained,
        record=run.verification(wanted.name),
        progress=progress(f"export for {wanted.name}"),
    )


def bench(
    files: Sequence[PathLike],
    *,
    protocol: Literal["quick", "full"] = "quick",
    threads: int = 1,
    device: Device | None = None,
    cooldown: float = 60.0,
    progress: Progress = silent,
) -> list[Timing]:
    """Time files on `device` (None: this machine), alternating where there are several.

    A bundle's file gets its timing into its run, also where the device failed under way (UnfinishedError).
    cooldown: how many seconds a file may wait for the device to be as cool as before.
    """
    from safedeploy.bench.protocol import UnfinishedError
    from safedeploy.bench.protocol import bench as time_files

    paths = [Path(file) for file in files]
    stage = progress(f"time {len(paths)} file{'s' * (len(paths) > 1)}")
    try:
        timings = time_files(
            paths, protocol=protocol, threads=threads, device=device, cooldown=cooldown, progress=stage
        )
    except UnfinishedError as error:
        _keep(paths, error.timings)
        raise
    _keep(paths, timings)
    return timings


def _keep(paths: Sequence[Path], timings: Sequence[Timing]) -> None:
    """Into their runs; a whole timing takes the place of an incomplete one."""
    for path, timing in zip(paths, timings, strict=False):
        if run := run_of_artifact(path):
            target = path.resolve().parent.name
            timing.write(run.timing(target, path.name, timing.device, complete=timing.complete))
            if timing.complete:
                run.timing(target, path.name, timing.device, complete=False).unlink(missing_ok=True)


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

    from safedeploy.attacks.membership import select
    from safedeploy.export.targets import keep_target, load_target, require_same_target, target_of_run

    made = RunDir(Path(runs) / recipe.name)
    kept = made.recipe.exists() and not fresh
    if kept and read_recipe(made.recipe) != recipe:
        raise UserError(f"{made.root} holds a run of another recipe: choose another --name, or --fresh to replace it")
    if kept:
        require_same_target(made, recipe.target)
    wanted = target_of_run(made, recipe.target) if kept else load_target(recipe.target)
    target, asked = wanted.name, Asked(recipe.audit.budget or wanted.budget.privacy, select(recipe.audit.attacks))
    if not kept or not made.summary.exists():  # what would fail after the control's training fails before it
        examples, _, _ = prepared(recipe, made if kept else None)
        exam_of(examples, recipe.seed)
        if fresh and made.recipe.exists():
            shutil.rmtree(made.root)
        recipe.write(made.recipe)
        keep_target(made, recipe.target)
        examples.split.write(made.split)
    dense = recipe.model_copy(update={"name": "dense", "method": MethodRecipe(name="dense", density=1.0)})
    parts = [(made.control, dense), (made, recipe)]
    for part, its_recipe in parts:
        if not part.summary.exists():
            train_run(part, its_recipe, progress)
    for part, _ in parts:
        if not (part.bundle(target) / "manifest.json").exists():
            export(part.root, progress=titled(progress, part))
    if recipe.audit.references:
        make_references(made.root, recipe.audit.references, progress=progress)
    exam, timed = exam_of_run(made), []
    for part, _ in parts:
        named, folder = titled(progress, part), part.bundle(target)
        for file in Manifest.read(folder / "manifest.json").files:
            path, place = folder / file.name, part.evidence(target, file.name)
            found = Evidence.read(place) if is_of(place, path, Evidence) else None
            if not found or found.verdict.budget != asked.budget or not attacked_alike(found, path, asked):
                audit_file(path, exam, asked, control_file(part, path), named, made)[0].write(place)
            timed.append((path, part.timing(target, file.name)))
    if not all(is_of(place, path, Timing) for path, place in timed):
        files = [path for path, _ in timed]
        bench(files, protocol=recipe.bench.protocol, threads=recipe.bench.threads, progress=progress)
    report(made.root)
    return made
