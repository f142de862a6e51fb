"""This machine: the runner is a process of the same Python."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RUNNER = Path(__file__).parent.parent / "runner.py"


@dataclass(frozen=True)
class Local:
    name: str = "local"

    def start(self, model: Path, log: IO[bytes]) -> tuple["subprocess.Popen[bytes]", str]:
        process = subprocess.Popen(
            [sys.executable, str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the runner
        )
        return process, str(model.resolve())
