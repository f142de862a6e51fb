"""A conversation with one runner on one device: JSON lines there and back, and its last words when it dies."""

import contextlib
import json
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

from safedeploy.bench.devices.base import Device
from safedeploy.errors import UserError

PATIENCE = 2.0  # seconds a runner has to end after its input has


@dataclass(frozen=True, eq=False)
class Session:
    model: Path
    device: Device
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
            line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._failed(f"the runner ended ({self._ending()}); free some memory and try again")
        answer: dict[str, Any] = json.loads(line)
        if error := answer.get("error"):
            absent = error.startswith("No module named")
            advice = "install its runtime there" if absent else "export it again or give another file"
            raise self._failed(f"{error[:300]}; {advice}")
        return answer

    def load(self, threads: int, seed: int) -> dict[str, Any]:
        return self.ask("load", model=self.place, threads=threads, seed=seed)

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
        return UserError(f"timing {self.model} on {self.device.name}: {what}")

    def _ending(self) -> str:
        self.close()
        code = self.process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1][:300]}" if lines else how


@contextlib.contextmanager
def opened(model: Path, device: Device) -> Iterator[Session]:
    """A runner for `model`, ended whatever happens."""
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
