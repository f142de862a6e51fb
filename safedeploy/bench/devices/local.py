"""This machine: the runner is a process of the same Python, files stay where they are."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RUNNER = Path(__file__).parent.parent / "runner.py"


@dataclass(frozen=True)
class Local:
    """Device and connection at once: there is nothing to reach. `cores`: the only ones a runner may use."""

    cores: tuple[int, ...] | None = None
    name: str = "local"
    emulated: bool = False

    @contextlib.contextmanager
    def opened(self) -> Iterator["Local"]:
        yield self

    @property
    def facts(self) -> dict[str, str]:
        return {}

    def state(self) -> None:
        return None

    def push(self, file: Path) -> str:
        return str(file.resolve())

    def fetch(self, place: str, file: Path) -> None:
        if Path(place) != file.resolve():
            shutil.copyfile(place, file)

    def start(self, model: Path, log: IO[bytes]) -> tuple["subprocess.Popen[bytes]", str]:
        return started([sys.executable, str(RUNNER)], log), self.push(model)


def started(command: list[str], log: IO[bytes], environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """A process with pipes in and out and `log` as standard error; Ctrl-C reaches ours alone, which then ends it."""
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
