"""The verify stage: a bundle's files against its manifest, in their runtimes, and against the run they came from."""

from importlib.util import find_spec
from pathlib import Path

from safedeploy.compression import PathLike, Progress, load, load_examples, silent
from safedeploy.errors import UserError
from safedeploy.export.calibration import divide
from safedeploy.export.questions import Known, Questions, random_questions
from safedeploy.export.targets import Target, list_targets, target_of_run
from safedeploy.export.verify_bundle import read_manifest, verify_bundle
from safedeploy.recipe import read_recipe
from safedeploy.results import Manifest, Verification
from safedeploy.rundir import RunDir, run_of_artifact


def verify(bundle: PathLike, *, progress: Progress = silent) -> Verification:
    """Check a bundle's folder; in a run, what was found is also kept in the run.

    What needs the torch model or the data is left out where they are not at hand, and said. A failed check is in the
    result. Raises UserError where `bundle` holds no bundle.
    """
    folder = Path(bundle)
    manifest = read_manifest(folder)
    run = run_of_artifact(folder / "manifest.json")
    target, notes = _target(manifest, run)
    questions, missing = _questions(manifest, run)
    stage = progress(f"verify {folder.resolve().name}")
    found = verify_bundle(folder, manifest, target, questions, not_checked=[*notes, *missing], progress=stage)
    if run is None:
        return found
    try:
        found.write(run.verification(folder.resolve().name))
    except UserError as error:
        return found.model_copy(update={"not_checked": [*found.not_checked, f"not kept in the run: {error}"]})
    return found


def _target(manifest: Manifest, run: RunDir | None) -> tuple[Target, list[str]]:
    """The target whose tolerances hold: the run's, else the shipped one of that name, else the defaults."""
    if run is not None:
        try:
            own = target_of_run(run, read_recipe(run.recipe).target)
        except UserError:  # a user's file that an older run kept no copy of
            own = None
        if own is not None and own.name == manifest.target:
            return own, []
    shipped = {target.name: target for target in list_targets()}
    if manifest.target in shipped:
        return shipped[manifest.target], []
    note = f"the tolerances of target '{manifest.target}', which is not at hand: the default ones serve"
    return Target(name=manifest.target, description="", files=["model.onnx"]), [note]


def _questions(manifest: Manifest, run: RunDir | None) -> tuple[Questions, list[str]]:
    """Validation inputs with the torch model's answers, or random inputs and why."""
    why = "answers and saturation against the torch model"
    tokens = manifest.input_dtype == "int64"
    random = random_questions(tuple(manifest.input_shape), tokens=tokens)
    if run is None:
        return random, [f"{why}: the bundle is not in a run"]
    if find_spec("torch") is None:
        return random, [f"{why}: torch is not installed here (the extra 'train')"]
    from safedeploy.export.reference import torch_answers, torch_rounding

    try:
        module, validation = load(run.root), load_examples(run).samples("validation")
    except UserError as error:
        return random, [f"{why}: {error}"]
    _, judge = divide(len(validation.y))
    x, y = validation.x[judge], validation.y[judge]
    answer = torch_answers(module)
    known = Known(y, answer(x), answer, torch_rounding(module))
    notes = []
    if manifest.calibration_inputs is None:
        notes.append("inputs apart from those that set int8 ranges: an older export used all; export again")
    return Questions(x, f"{len(x):,} validation inputs", known, tokens), notes
