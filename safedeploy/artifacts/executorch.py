"""An ExecuTorch program (.pte) in its own runtime: the black box; `pte/` rebuilds it for the white box."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from safedeploy.artifacts.base import Array, Unopenable, WhiteBox
from safedeploy.artifacts.batches import as_input, finite, in_batches
from safedeploy.errors import UserError, missing_extra

FLOAT32, INT64 = 6, 4  # ScalarType of runtime/core/portable_type/scalar_type.h


class ExecuTorchArtifact:
    """A classifier in a .pte file. `tokens`: its inputs are whole numbers.

    Every call runs whole batches of the size the program was exported with (its bound, where the batch is dynamic).
    `threads`: what the runtime's pool really has. It is one pool a process and loaded programs hold on to it, so only
    the first file opened in a process sets its size.
    """

    format: Literal["executorch"] = "executorch"
    fixed_batch = True

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Raises UserError with one line where the file is damaged, needs an absent backend or is no classifier."""
        self.path = path
        self.name = path.name
        program, self.threads = _load(path, threads)
        if "forward" not in program.method_names:
            methods = ", ".join(sorted(program.method_names))
            raise UserError(f"{path} has no method 'forward' but {methods}; export a classifier's forward")
        self._program = program
        self._method, log = _quietly(lambda: program.load_method("forward"))
        if self._method is None:
            raise UserError(f"{path}: ExecuTorch cannot prepare it: {log}; export it for a backend of this machine")
        self.batch, self.input_shape, self.classes, self.tokens = _shapes(program.metadata("forward"), path)

    def logits(self, x: Array) -> Array:
        """(n, classes) float32. Raises UserError on a wrong shape and on answers that are NaN or infinite."""
        x = as_input(x, self.input_shape, self.name)
        return finite(self.answers(x), self.name)

    def answers(self, x: Array) -> Array:
        """What the runtime gives for `x` of the right shape, (n, classes), whatever it is."""
        return in_batches(x, self.batch, self._run, pad=self.fixed_batch)[0]

    def unpack(self) -> WhiteBox:
        """The program rebuilt out of the file. Raises Unopenable where that is not possible or answers differently."""
        from safedeploy.artifacts.pte.whitebox import ExecuTorchWhiteBox

        return ExecuTorchWhiteBox(self)

    @cached_property
    def quantised(self) -> bool:
        """Whether some stored tensors are of 8-bit integers; False where the file's inside cannot be read."""
        from safedeploy.artifacts.pte.contents import tensors

        try:
            return any(values.dtype in (np.int8, np.uint8) for _, values in tensors(self.path.read_bytes()))
        except Unopenable:
            return False

    def _run(self, x: Array) -> tuple[Array]:
        import torch

        try:
            answers = self._method.execute([torch.from_numpy(x.astype(np.int64) if self.tokens else x)])[0]
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.path}: ExecuTorch fails on {len(x)} inputs: {reason}; export it again") from None
        return (np.array(answers.numpy(), dtype=np.float32),)


_pool_is_held = False


def _load(path: Path, threads: int | None) -> tuple[Any, int]:
    """The program and the number of threads of the runtime's pool."""
    global _pool_is_held
    try:
        with _captured():
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            if threads is not None and not _pool_is_held:
                portable_lib._unsafe_reset_threadpool(threads)
            _pool_is_held = True
            count = int(portable_lib._threadpool_get_thread_count())
    except ImportError:
        raise missing_extra("reading a .pte file", "executorch") from None
    program, log = _quietly(lambda: Runtime.get().load_program(path.read_bytes()))
    if program is None:
        raise UserError(f"{path}: ExecuTorch cannot load it: {log}; it is damaged: export or copy it again")
    return program, count


def _shapes(meta: Any, path: Path) -> tuple[int, tuple[int, ...], int, bool]:
    """(batch, input shape without the batch, classes, whether it takes tokens) from a method's metadata."""
    if meta.num_inputs() != 1 or meta.num_outputs() != 1:
        counts = f"{meta.num_inputs()} inputs and {meta.num_outputs()} outputs"
        raise UserError(f"{path} has {counts}; safedeploy takes classifiers with one of each")
    try:
        taken, given = meta.input_tensor_meta(0), meta.output_tensor_meta(0)
    except (IndexError, RuntimeError):
        raise UserError(f"{path} takes or gives no tensor; give a classifier of float32 or int64 inputs") from None
    if taken.dtype() not in (FLOAT32, INT64) or given.dtype() != FLOAT32:
        takes = "float32, or int64 for tokens, and give float32"
        raise UserError(f"{path} does not take {takes}; export a classifier that does")
    inputs, outputs = tuple(taken.sizes()), tuple(given.sizes())
    if len(inputs) < 2 or len(outputs) != 2 or inputs[0] != outputs[0]:
        raise UserError(f"{path} is no classifier: input {inputs} gives {outputs}, not (n, classes); give a classifier")
    if outputs[1] < 2:
        raise UserError(f"{path} is no classifier of several classes: its output has one column; export one a class")
    return inputs[0], inputs[1:], outputs[1], taken.dtype() == INT64


def _quietly(call: Callable[[], Any]) -> tuple[Any, str]:
    """The call's result, or None with the runtime's last words."""
    with _captured() as log:
        try:
            return call(), ""
        except RuntimeError as error:
            log.seek(0)
            words = re.findall(r"\[\w+\.cpp:\d+\] (.+)", log.read().decode(errors="replace"))
            said = " ".join(str(error).split())
            return None, f"{said} ({words[-1].strip()})" if words else said


@contextlib.contextmanager
def _captured() -> Iterator[Any]:
    """Whatever native code writes to standard output and error lands in the file that this yields."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield log
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, target)
                os.close(saved)
