"""A machine over ssh: its own Python if that has a runtime, else the aarch64 tree; plain ssh, as its user set it up."""

import contextlib
import re
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from safedeploy.bench.devices import phone, remote
from safedeploy.bench.devices.cores import chosen_cores
from safedeploy.errors import UserError

FOLDERS = "/var/tmp"  # on disk, where /tmp may be the memory that is to be weighed
OPTIONS = (  # a lost machine is noticed within 15 s
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
)
ADVICE = (
    ("Permission denied (", "give it your key ('ssh-copy-id'), or name the right one in ~/.ssh/config"),
    ("Host key verification failed", "connect once with 'ssh' and accept its key"),
    ("IDENTIFICATION HAS CHANGED", "see whether it is the same machine, then 'ssh-keygen -R' its name"),
    ("Could not resolve hostname", "check its name"),
    ("Connection refused", "is an SSH server running there, on that port?"),
    ("", "see that it is switched on and connected, and that 'ssh' alone reaches it"),
)
PYTHON = (
    "import importlib.util as u, sys; print(sys.executable, sys.version_info[0] * 100 + sys.version_info[1], "
    "*[name for name in ('numpy', 'onnxruntime', 'executorch') if u.find_spec(name)])"
)
OLDEST = 309  # Python 3.9
LOOK = 0.02  # seconds between two looks whether the connection stands


@dataclass(frozen=True)
class Ssh:
    """`host`: [USER@]HOST. `port` None: as the user's configuration says. `cores`: as in --cores.

    `python`: the host's, None: find one. `native`: a program built for the host that runs .pte files.
    """

    host: str
    port: int | None = None
    cores: str | None = None
    python: str | None = None
    native: Path | None = None
    emulated: bool = False

    @property
    def name(self) -> str:
        return f"ssh:{self.host}" + (f":{self.port}" if self.port else "")

    @contextlib.contextmanager
    def opened(self) -> Iterator[remote.Remote]:
        with connected(self.name, self.host, self.port) as wire:
            folder = remote.new_folder(FOLDERS)
            try:
                system = wire.shell(f"mkdir -m 700 {folder} && uname -s -m").strip()
                chosen = None if self.cores is None else chosen_cores(self.cores, phone.cores(wire.shell), self.name)
                tree = remote.of_tree(wire, folder) if system == "Linux aarch64" and self.python is None else None
                yield remote.Remote(
                    wire,
                    folder,
                    python=cache(lambda runtime: self._python(wire, runtime, system, tree)),
                    cores=chosen,
                    facts=phone.board(wire.shell),
                    native=self.native,
                )
            finally:
                with contextlib.suppress(UserError):  # a machine that is gone cannot be cleaned up
                    wire.shell(f"rm -rf {folder}")

    def _python(
        self, wire: "SshWire", runtime: remote.Runtime, system: str, tree: remote.Python | None
    ) -> remote.Launch:
        """The host's own Python if it has numpy and the runtime, else the tree's. Raises UserError for neither."""
        given = (self.python or "").removeprefix("~/")  # ssh begins in the user's home
        lacking = "no such program" if given else "no python3"
        for python in [given] if given else ["python3", "python"]:
            answer = wire.shell(f"{shlex.quote(python)} -c {shlex.quote(PYTHON)} 2>/dev/null || true").split()
            if len(answer) < 2:
                continue
            path, version, *has = answer
            absent = [name for name in ("numpy", runtime) if name not in has]
            if int(version) >= OLDEST and not absent:
                return lambda script: [path, script]
            lacking = f"{path} is older than Python 3.9" if int(version) < OLDEST else f"no {absent[0]} for {path}"
        if self.python is not None:
            raise UserError(f"{self.name}: --python {self.python}: {lacking} there; install it, or name another")
        if tree is not None:
            return tree(runtime)
        install = f"python3 -m pip install numpy {runtime}"
        raise UserError(
            f"{self.name}: {lacking} there ({system}, which does not run the aarch64 tree); '{install}' there, or name "
            "another with --python"
        )


@dataclass(frozen=True)
class SshWire:
    """`socket`: of the one connection that all commands share; without it each makes its own."""

    name: str
    host: str
    port: int | None
    socket: Path

    def remote(self, *command: str) -> list[str]:
        options = [part for option in (*OPTIONS, f"ControlPath={self.socket}") for part in ("-o", option)]
        return ["ssh", "-T", *options, *(["-p", str(self.port)] if self.port else []), "--", self.host, *command]

    def shell(self, script: str) -> str:
        done = remote.run(self.remote(f"sh -c {shlex.quote(script)}"), self.name)
        if done.returncode:
            raise remote.fault(self.name, done, ADVICE)
        return done.stdout.decode(errors="replace")

    def upload(self, source: Path, place: str) -> None:
        if not source.is_dir():
            with source.open("rb") as content:
                self._send(content, f"cat > {shlex.quote(place)}")
            return
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
                archive.add(source, arcname=".")
            packed.seek(0)
            self._send(packed, f"mkdir {place} && tar -x -z -C {place}")

    def _send(self, content: IO[bytes], line: str) -> None:
        done = remote.run(self.remote(f"sh -c {shlex.quote(line)}"), self.name, stdin=content, short=False)
        if done.returncode:
            raise remote.fault(self.name, done, ADVICE)

    def download(self, place: str, file: Path) -> None:
        with file.open("wb") as content:
            done = remote.run(self.remote(f"cat {shlex.quote(place)}"), self.name, stdout=content, short=False)
        if done.returncode:
            raise remote.fault(self.name, done, ADVICE)


@contextlib.contextmanager
def connected(name: str, host: str, port: int | None) -> Iterator[SshWire]:
    """One connection, held while this lasts. Raises UserError, ssh's words and what to do, where there is none."""
    with tempfile.TemporaryDirectory(prefix="safedeploy-") as folder, tempfile.TemporaryFile() as log:
        wire = SshWire(name, host, port, Path(folder) / "ssh")
        remote.require("ssh", name)
        command = ["ssh", "-N", "-o", "ControlMaster=yes", *wire.remote()[1:]]
        master = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        try:
            while not wire.socket.exists():
                if master.poll() is not None:
                    log.seek(0)
                    failed = subprocess.CompletedProcess(command, master.returncode, b"", log.read())
                    raise remote.fault(name, failed, ADVICE)
                time.sleep(LOOK)
            yield wire
        finally:
            master.terminate()
            master.wait()


def parse(text: str) -> tuple[str, int | None]:
    """'USER@HOST:PORT', 'USER@[::1]:PORT': the host as ssh takes it, and the port. Raises UserError for other text."""
    matched = re.fullmatch(r"([^@\s]+@)?(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:@\[\]]+))(?::(\d{1,5}))?", text)
    port = int(matched[4]) if matched and matched[4] else None
    if not matched or text.startswith("-") or (port is not None and not 0 < port < 65536):
        raise UserError(f"--device ssh:{text}: write ssh:USER@HOST or ssh:USER@HOST:PORT")
    return (matched[1] or "") + (matched[2] or matched[3]), port
