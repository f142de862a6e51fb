"""The agreement stage: exported files on an emulated device beside this machine, on the run's own inputs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from safedeploy.artifacts.recognise import open_artifact, recognise
from safedeploy.artifacts.tokens import token_probes
from safedeploy.bench.agreement import Allowed, agreement
from safedeploy.bench.devices.base import Device
from safedeploy.compression import PathLike, Progress, load_examples, silent
from safedeploy.errors import UserError
from safedeploy.export.targets import Target, list_targets, target_of_run
from safedeploy.recipe import read_recipe
from safedeploy.results import Agreement
from safedeploy.rundir import RunDir, run_of_artifact
from safedeploy.seeds import numpy_generator

if TYPE_CHECKING:
    from safedeploy.artifacts.base import Array, Artifact

SAMPLES = 200
STRANGERS = "android"  # whose tolerance a file outside a bundle is held against
SEED = 0


def agree(
    files: Sequence[PathLike], device: Device, *, samples: int = SAMPLES, progress: Progress = silent
) -> list[Agreement]:
    """Run each file on `device` and here on the same inputs; a bundle's file gets the result into its run.

    Inputs: the first `samples` validation examples of the run whose bundle holds the file, else random normal ones.
    Raises UserError where a file is no model, the device cannot be had, or the file fails in either place.
    """
    if samples < 1:
        raise UserError(f"--samples {samples}: at least 1 input is needed")
    paths = [Path(file) for file in files]
    for path in paths:
        if recognise(path) == "torch":
            raise UserError(f"{path} holds weights alone, which no runtime runs; give the exported .onnx or .pte")
    return [_agree(path, device, samples, progress(f"{path.name} on {device.name}")) for path in paths]


def _agree(path: Path, device: Device, samples: int, progress: Callable[[float], None]) -> Agreement:
    run, artifact = run_of_artifact(path), open_artifact(path)
    x, inputs = _inputs(artifact, run, samples)
    found = agreement(
        path,
        x,
        device,
        _allowed(path, artifact, run),
        inputs=inputs,
        output=getattr(artifact, "output_name", None),
        progress=progress,
    )
    if run:
        found.write(run.agreement(path.resolve().parent.name, path.name))
    return found


def _inputs(artifact: "Artifact", run: RunDir | None, samples: int) -> tuple["Array", Literal["validation", "random"]]:
    if run:
        return load_examples(run).samples("validation").x[:samples], "validation"
    if getattr(artifact, "tokens", False):
        return token_probes(samples, artifact.input_shape, SEED), "random"
    generator = numpy_generator(SEED, "agreement")
    return generator.standard_normal((samples, *artifact.input_shape)).astype(np.float32), "random"


def _allowed(path: Path, artifact: "Artifact", run: RunDir | None) -> Allowed:
    target = _target(path.resolve().parent.name, run)
    precision: Literal["float32", "int8"] = "int8" if getattr(artifact, "quantised", False) else "float32"
    limits = target.tolerance
    return Allowed(target.name, precision, limits.float32.logit_difference, limits.int8.top1_agreement)


def _target(bundle: str, run: RunDir | None) -> Target:
    """The target that the bundle `bundle` is for; a target file that nothing kept stands back for STRANGERS."""
    if run and (own := target_of_run(run, read_recipe(run.recipe).target)).name == bundle:
        return own
    shipped = {target.name: target for target in list_targets()}
    return shipped.get(bundle if run else STRANGERS, shipped[STRANGERS])
