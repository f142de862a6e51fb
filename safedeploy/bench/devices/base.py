"""What a device is to the timing protocol: somewhere `runner.py` can be started next to a model file."""

from pathlib import Path
from subprocess import Popen
from typing import IO, Protocol


class Device(Protocol):
    @property
    def name(self) -> str:
        """As on the command line: local, ssh:HOST, …"""
        ...

    def start(self, model: Path, log: IO[bytes]) -> tuple["Popen[bytes]", str]:
        """The runner, with pipes in and out and `log` as standard error, and the model's path as it sees it."""
        ...
