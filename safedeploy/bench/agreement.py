"""Whether a file answers on an emulated machine as it does on this one: the same runner, the same inputs, both kept."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.info import artifact_info
from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.local import Local
from safedeploy.bench.session import opened
from safedeploy.errors import UserError
from safedeploy.results import Agreement

Array = NDArray[np.float32]
Progress = Callable[[float], None]
AT_ONCE = 32  # inputs sent together; the runner cuts them into the file's own batches
SEED = 0


@dataclass(frozen=True)
class Allowed:
    """What a target lets a file of this precision stray.

    float32: `logit_difference`, the largest |difference| as a share of the largest |logit|. int8: `top1_agreement`, the
    smallest share of inputs given the same class: integer kernels round differently on different processors.
    """

    target: str
    precision: Literal["float32", "int8"]
    logit_difference: float
    top1_agreement: float

    def __str__(self) -> str:
        if self.precision == "float32":
            return f"a logit difference of at most {self.logit_difference:g} of the largest logit"
        return f"top-1 agreement of {self.top1_agreement:g} or more"


def agreement(
    path: Path,
    x: Array,
    device: Device,
    allowed: Allowed,
    *,
    inputs: Literal["validation", "random"],
    output: str | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Run `path` on x (n, *input_shape), float32 and preprocessed, on `device` and here, on one thread, and compare.

    output: the ONNX output that answers, (n, classes); None: the first. Raises UserError, one line, where the file or
    its runtime fails in either place, and where it answers with NaN or infinity in one.
    """
    tell = progress or (lambda done: None)
    there, known = answers(path, x, device, output, lambda done: tell(0.9 * done))
    here, known_here = answers(path, x, Local(), output, lambda done: tell(0.9 + 0.1 * done))
    for answered, name in ((there, device.name), (here, "this machine")):
        if not np.isfinite(answered).all():
            raise UserError(f"{path} answers with NaN or infinity on {name}: nothing can be compared; export it again")
    difference = np.abs(there.astype(np.float64) - here)
    largest, scale = float(difference.max()), float(np.abs(here).max())
    same_class = float((there.argmax(axis=1) == here.argmax(axis=1)).mean())
    close = largest <= allowed.logit_difference * scale
    return Agreement(
        artifact=artifact_info(path),
        precision=allowed.precision,
        device=device.name,
        machine=known["machine"],
        runtime=known["runtime"],
        here=known_here["machine"],
        runtime_here=known_here["runtime"],
        inputs=inputs,
        samples=len(x),
        max_logit_difference=largest,
        mean_logit_difference=float(difference.mean()),
        largest_logit=scale,
        top1_agreement=same_class,
        identical=there.dtype == here.dtype and there.tobytes() == here.tobytes(),
        target=allowed.target,
        allowed=str(allowed),
        within=close if allowed.precision == "float32" else same_class >= allowed.top1_agreement,
    )


def answers(
    path: Path, x: Array, device: Device, output: str | None = None, progress: Progress | None = None
) -> tuple[NDArray[Any], dict[str, Any]]:
    """The file's answers to x (n, *input_shape) on `device`, (n, classes), and what its runner said on loading."""
    if len(x) == 0:
        raise UserError(f"no inputs to run {path} on; give at least one")
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="safedeploy-answers.") as folder,
        device.opened() as connection,
        opened(path, connection) as session,
    ):
        known = session.load(threads=1, seed=SEED)
        for start in range(0, len(x), AT_ONCE):
            inputs, outputs = Path(folder) / f"x{start}.npy", Path(folder) / f"y{start}.npy"
            np.save(inputs, x[start : start + AT_ONCE])
            there = connection.push(inputs)
            answered = there.removesuffix(".npy") + ".answers.npy"
            session.ask("answer", inputs=there, outputs=answered, output=output)
            connection.fetch(answered, outputs)
            found.append(np.load(outputs))
            if progress:
                progress((start + len(found[-1])) / len(x))
    whole = np.concatenate(found)
    if whole.ndim != 2:
        raise UserError(f"{path} answers in the shape {list(whole.shape)}, not (n, classes); name another --output")
    return whole, known
