"""Reference models for an audit: which to make, for a run or for a stranger's two files of samples, and where."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.attacks.views import views_of
from safedeploy.compression import Examples, PathLike, Progress, fresh, load_examples, need_torch, silent
from safedeploy.data.arrays import read_arrays
from safedeploy.data.checks import whole_labels
from safedeploy.data.dataset import Dataset
from safedeploy.data.halves import POOL
from safedeploy.data.samples import check_disjoint, content_digests, read_samples
from safedeploy.data.split import ROLES, Split
from safedeploy.errors import UserError, unknown
from safedeploy.export.targets import Target, load_target, target_of_run
from safedeploy.recipe import Recipe, read_recipe
from safedeploy.reference_build import Plan, build, require_startable, split_of
from safedeploy.results import Manifest, Preprocessing, ReferenceSet, Served, Summary
from safedeploy.rundir import RunDir, open_run
from safedeploy.versions import versions

FLOAT32, INT8, SAME_WEIGHTS = "model.onnx", "model.int8.onnx", "model.pte"


def make_references(
    root: PathLike,
    count: int = 64,
    *,
    views: int | None = None,
    target: str | None = None,
    files: Sequence[str] | None = None,
    out: PathLike | None = None,
    control: bool = True,
    data_root: str | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """References of a run, in `out` (by default in the run), and of its dense control, in `out`/dense; the folders.

    views: by default 1, or of a training with augmentation all that it made of a member, up to 18. files: which
    exported files answer; by default the bundle's, but model.pte, whose weights model.onnx has too.
    A build that was cut off goes on where it stopped, a larger `count` extends it. Raises UserError for bad input,
    before anything is trained.
    """
    run = open_run(Path(root))
    runs = [run, run.control] if control and run.control.recipe.is_file() else [run]
    folders = [part.references for part in runs] if out is None else [Path(out), Path(out) / "dense"][: len(runs)]
    plans = [
        _plan_of_run(part, folder, count, views, target, files, data_root)
        for part, folder in zip(runs, folders, strict=True)
    ]
    for plan in plans:
        require_startable(plan)
    for part, plan in zip(runs, plans, strict=True):
        build(plan, progress(f"train and ask {count} references of {part.root.name}"))
    return folders


def make_references_of_files(
    members: PathLike,
    nonmembers: PathLike,
    out: PathLike,
    count: int = 64,
    *,
    like: PathLike | None = None,
    model: str | None = None,
    views: int | None = None,
    target: str | None = None,
    files: Sequence[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    augment: str | None = None,
    device: str | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Dense references for a stranger's model, on halves of its two files of samples, taken as they are; `out`.

    like: the stranger's file, whose input shape and classes they get; without it the samples tell. files: model.onnx by
    default, and model.int8.onnx where `like` is quantised. No sample is held out of the halves, and nothing is chosen
    by an accuracy. Raises UserError for bad input, before anything is trained.
    """
    from safedeploy.compose import make_recipe

    recipe = make_recipe(
        data=str(members),
        model=model,
        method="dense",
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augment=augment,
        device=device,
        seed=seed,
        target=target,
        name="references",
    )
    usual = [FLOAT32]
    if like is not None:
        artifact = open_artifact(Path(like))
        shape, classes = artifact.input_shape, artifact.classes
        usual += [INT8] * getattr(artifact, "quantised", False)
    else:
        shape, classes = _told_by((Path(members), Path(nonmembers)))
    examples = _pool_of_files(Path(members), Path(nonmembers), shape, classes)
    made_for = f"{Path(members).name} and {Path(nonmembers).name}"
    wanted = load_target(recipe.target)
    plan = _plan(made_for, recipe, wanted, examples, Path(out), count, views, _known(files) or usual, {})
    require_startable(plan)
    build(plan, progress(f"train and ask {count} references"))
    return plan.folder


def _plan_of_run(
    run: RunDir,
    folder: Path,
    count: int,
    views: int | None,
    target: str | None,
    files: Sequence[str] | None,
    data_root: str | None,
) -> Plan:
    recipe = read_recipe(run.recipe)
    if not run.weights.is_file():
        raise UserError(f"{run.root} has no weights yet: finish it with 'safedeploy compress --resume {run.root}'")
    _require_same_init(run, recipe)
    wanted = load_target(target) if target else target_of_run(run, recipe.target)
    place = run.bundle(wanted.name) / "manifest.json"
    if not place.is_file():
        typed = f"safedeploy export {run.root}" + (f" --target {target}" if target else "")
        raise UserError(f"{run.root} has no bundle for '{wanted.name}', which references are exported like: '{typed}'")
    shipped = {file.name: file.check.max_logit_difference for file in Manifest.read(place).files}
    both = FLOAT32 in shipped and SAME_WEIGHTS in shipped
    chosen = _known(files) or [name for name in shipped if not (both and name == SAME_WEIGHTS)]
    served = {}
    if both and FLOAT32 in chosen and SAME_WEIGHTS not in chosen:
        apart = shipped[FLOAT32] + shipped[SAME_WEIGHTS]  # each was checked against the same torch answers
        served[SAME_WEIGHTS] = Served(by=FLOAT32, max_logit_difference=apart)
    changed = recipe.model_copy(update={"target": target or recipe.target})
    return _plan(run.root.name, changed, wanted, load_examples(run, data_root), folder, count, views, chosen, served)


def _require_same_init(run: RunDir, recipe: Recipe) -> None:
    """References begin with the trained weights that the run began with, as an attacker's would."""
    began_with = Summary.read(run.summary).init_sha256 if recipe.model.init and run.summary.is_file() else None
    if recipe.model.init and began_with:
        need_torch("making reference models")
        from safedeploy.models.init import weights_sha256

        if weights_sha256(recipe.model.init) != began_with:
            raise UserError(f"{recipe.model.init} holds other weights than {run.root} began with: give them back first")


def _plan(
    made_for: str,
    recipe: Recipe,
    target: Target,
    examples: Examples,
    folder: Path,
    count: int,
    views: int | None,
    files: Sequence[str],
    served: dict[str, Served],
) -> Plan:
    need_torch("making reference models")
    if count < 1:
        raise UserError(f"--count {count}: at least one reference model is needed")
    if any(name.endswith(".pte") for name in files):
        from safedeploy.export.executorch import require_executorch

        require_executorch()
    decides: dict[str, Any] = recipe.model_dump(
        mode="json", include={"split", "model", "method", "training"}, exclude_none=True
    )
    decides["training"].pop("checkpoint_seconds")  # decides what a kill loses, never the outcome
    decides["export"] = {"opset": target.opset, "quantisation": target.quantisation.model_dump(mode="json")}
    described = ReferenceSet(
        made_for=made_for,
        fingerprint=examples.split.fingerprint,
        recipe=decides,
        model=recipe.model.name,
        method=recipe.method.name,
        seed=recipe.seed,
        count=count,
        views=views_of(recipe.training, examples.dataset.input_shape, views),
        files=list(files),
        served=served,
        pool=int(examples.split.indices(*POOL).size),
        versions=versions(),
    )
    plan = Plan(recipe, examples, target, described, folder)
    fresh(recipe, Examples(examples.dataset, split_of(plan, 0)))
    return plan


def _known(files: Sequence[str] | None) -> list[str]:
    """`files` in the order of a bundle, each once."""
    from safedeploy.export.targets import FileName

    order: tuple[str, ...] = get_args(FileName)
    for name in files or ():
        if name not in order:
            raise unknown("file", name, order)
    return [name for name in order if name in (files or ())]


def _told_by(paths: Sequence[Path]) -> tuple[tuple[int, ...], int]:
    """The input shape of the first file, and one class more than the largest label of all."""
    arrays = [read_arrays(path, "x", "y") for path in paths]
    labels = [whole_labels(y, f"{path}: y") for path, (_, y) in zip(paths, arrays, strict=True)]
    largest = max((int(part.max()) for part in labels if part.size), default=0)
    if largest < 1:
        raise UserError(f"{paths[0]} and {paths[1]} have one class; a classifier needs at least two")
    return arrays[0][0].shape[1:], largest + 1


def _pool_of_files(members: Path, nonmembers: Path, shape: tuple[int, ...], classes: int) -> Examples:
    """Both files as one data set whose preprocessing changes nothing, in an order that says nothing of membership."""
    if len(shape) not in (1, 3):
        raise UserError(f"{members}: inputs of shape {shape}; give (columns,) or (channels, height, width)")
    inside, outside = (read_samples(path, input_shape=shape, classes=classes) for path in (members, nonmembers))
    check_disjoint(inside, outside)
    x, y = np.concatenate([inside.x, outside.x]), np.concatenate([inside.y, outside.y])
    order = np.argsort(content_digests(x), kind="stable")
    as_it_is = Preprocessing(raw="as the model takes it", scale=1.0, mean=[0.0] * shape[0], std=[1.0] * shape[0])
    dataset = Dataset(
        name=members.stem,
        kind="image" if len(shape) == 3 else "table",
        x=x[order],
        y=y[order],
        class_names=tuple(str(label) for label in range(classes)),
        preprocessing=as_it_is,
    )
    role = np.full(len(y), ROLES.index("member_known"), dtype=np.int8)  # of everyone: nobody's is told
    return Examples(dataset, Split(role, dataset.fingerprint))
