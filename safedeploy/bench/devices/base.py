"""What a device is to the timing protocol: somewhere files can be put and `runner.py` started beside them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import IO, Protocol

from safedeploy.results.timing import DeviceState


class Connection(Protocol):
    """A device that answers. What was pushed to it is gone, and every runner ended, once it is closed.

    Every call raises UserError, one line that names the device, where the device has vanished or has no room.
    """

    @property
    def name(self) -> str:
        """The device's, for messages."""
        ...

    @property
    def cores(self) -> tuple[int, ...] | None:
        """The cores a runner pins itself to, by the numbers the device's kernel gives them; None: all it may use."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What the device says of itself beside what its runner says."""
        ...

    def state(self) -> DeviceState | None:
        """Screen and temperature now; None where there is nobody to ask."""
        ...

    def push(self, file: Path) -> str:
        """Make `file` readable there; its path as the runner sees it. Its folder there can be written to."""
        ...

    def fetch(self, place: str, file: Path) -> None:
        """Copy what lies at `place` there to `file` here."""
        ...

    def start(self, model: Path, log: IO[bytes]) -> tuple["Popen[bytes]", str]:
        """The runner, with pipes in and out and `log` as standard error, and the model's path as it sees it."""
        ...


class Device(Protocol):
    @property
    def name(self) -> str:
        """As on the command line: local, qemu-arm64, ssh:HOST, adb:SERIAL."""
        ...

    @property
    def emulated(self) -> bool:
        """Whether its answers mean something and its speed means nothing."""
        ...

    def opened(self) -> AbstractContextManager[Connection]:
        """Reach it: raises UserError, one line that says what to do, where that fails."""
        ...
