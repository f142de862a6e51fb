"""A conversation with one runner on one device: JSON lines there and back, and its last words when it dies."""

import contextlib
import json
import os
import select
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

from safedeploy.bench.devices.base import Connection
from safedeploy.errors import UserError

PATIENCE = 2.0  # seconds a runner has to end after its input has
SILENCE = 30.0  # seconds without a word, after which a device may have vanished unseen
ADVICE = {  # by how a runner's error begins
    "No module named": "install its runtime there",
    "there is no core": "choose others with --cores",
    "": "export it again or give another file",
}


@dataclass(frozen=True, eq=False)
class Session:
    model: Path
    device: Connection
    process: "Popen[bytes]"
    place: str  # the model's path on the device
    log: IO[bytes]

    def ask(self, command: str, **values: Any) -> dict[str, Any]:
        """The runner's answer. Raises UserError with its own words where it fails or has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = b""
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps({"command": command, **values}).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(self.process.stdout.fileno())
        if not line.endswith(b"\n"):
            how = self._ending()
            self.device.state()  # where it is gone, it says so itself
            unfit = self.process.returncode in (126, 127)  # a shell's: what it should start does not start
            remedy = "it does not start there" if unfit else "free some memory and try again"
            raise self._failed(f"the runner ended ({how}); {remedy}")
        answer: dict[str, Any] = json.loads(line)
        if error := answer.get("error"):
            self.device.state()
            advice = next((advice for start, advice in ADVICE.items() if error.startswith(start)), ADVICE[""])
            raise self._failed(f"{error[:300]}; {advice}")
        return answer

    def _line(self, pipe: int) -> bytes:
        """What is said until a line's end or for good; in a long silence, the device is asked whether it is there."""
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([pipe], [], [], SILENCE)[0]:
                self.device.state()
            elif part := os.read(pipe, 1 << 16):
                line += part
            else:
                break
        return line

    def load(self, threads: int, seed: int) -> dict[str, Any]:
        cores = None if self.device.cores is None else list(self.device.cores)
        return self.ask("load", model=self.place, threads=threads, seed=seed, cores=cores)

    def close(self) -> None:
        """End the runner: by the end of its input, or by force."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _failed(self, what: str) -> UserError:
        return UserError(f"running {self.model} on {self.device.name}: {what}")

    def _ending(self) -> str:
        self.close()
        code = self.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1][:300]}" if lines else how


@contextlib.contextmanager
def opened(model: Path, device: Connection) -> Iterator[Session]:
    """A runner for `model` on a device that has been reached, ended whatever happens."""
    with tempfile.TemporaryFile() as log:
        process, place = device.start(model, log)
        session = Session(model, device, process, place, log)
        try:
            yield session
        except BaseException:
            process.kill()
            raise
        finally:
            session.close()
