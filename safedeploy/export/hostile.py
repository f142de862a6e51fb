"""What a file answers to NaN and infinity, asked in a process of its own, so that no crash is ours.

The process is started early and asked late, so that its imports cost no waiting. One line in, a model's path; one line
out, JSON: {"answers": {input: "finite" | "not finite" | "refused"}}, or {"error": TEXT} for a file it cannot open.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from safedeploy.errors import UserError
from safedeploy.results import ExtremeAnswers

PATIENCE = 300.0  # seconds for one file

Ask = Callable[[Path], list[ExtremeAnswers]]


@contextlib.contextmanager
def asked_apart(*, executorch: bool) -> Iterator[Ask]:
    """A function that asks one file. executorch: whether .pte files will come. A crash is an answer."""
    apart = _Apart(executorch)
    try:
        yield apart.ask
    finally:
        apart.end()


class _Apart:
    def __init__(self, executorch: bool) -> None:
        self._executorch = executorch
        self._process = self._start()

    def ask(self, path: Path) -> list[ExtremeAnswers]:
        from safedeploy.export.questions import HOSTILE

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        guard = threading.Timer(PATIENCE, self._process.kill)
        guard.start()
        line = b""
        try:
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{path.resolve()}\n".encode())
                self._process.stdin.flush()
                line = self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line.endswith(b"\n"):
            self.end()
            self._process = self._start()
            return [ExtremeAnswers(input=name, answers="crashed") for name in HOSTILE]
        told = json.loads(line)
        if "error" in told:
            raise UserError(told["error"])
        return [ExtremeAnswers(input=name, answers=answer) for name, answer in told["answers"].items()]

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _start(self) -> "subprocess.Popen[bytes]":
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "safedeploy.export.hostile", *(["executorch"] if self._executorch else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )


def main() -> None:
    """The process' side."""
    answers = os.fdopen(os.dup(1), "w")  # native code may write to standard output
    os.dup2(2, 1)
    import onnxruntime  # noqa: F401  # now, while nothing is asked

    if "executorch" in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            import executorch.runtime  # noqa: F401
    for line in sys.stdin:
        answers.write(json.dumps(_answer(Path(line.rstrip("\n")))) + "\n")
        answers.flush()


def _answer(path: Path) -> dict[str, object]:
    from safedeploy.artifacts.recognise import open_artifact
    from safedeploy.export.questions import hostile

    try:
        artifact = open_artifact(path, threads=1)
    except UserError as error:
        return {"error": str(error)}
    found = {}
    for name, x in hostile(artifact.input_shape, tokens=bool(getattr(artifact, "tokens", False))).items():
        try:
            given = artifact.answers(x)
        except UserError:
            found[name] = "refused"
        else:
            found[name] = "finite" if np.isfinite(given).all() else "not finite"
    return {"answers": found}


if __name__ == "__main__":
    main()
