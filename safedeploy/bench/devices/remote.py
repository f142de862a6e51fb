"""A device over a wire: what ssh and adb have in common once either can run, push and fetch."""

import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import IO, Literal, Protocol

from safedeploy.artifacts.info import files_beside
from safedeploy.artifacts.recognise import recognise
from safedeploy.bench.devices import executor_runner, phone
from safedeploy.bench.devices.local import RUNNER, started
from safedeploy.bench.devices.tree import build
from safedeploy.errors import UserError
from safedeploy.results.timing import DeviceState
from safedeploy.rundir import sha256

Runtime = Literal["onnxruntime", "executorch"]
Launch = Callable[[str], list[str]]  # the words of a command that runs a Python script which lies on the device
Python = Callable[[Runtime], Launch]

PATIENCE = 60.0  # seconds a short command may take
FULL = ("No space left on device", "Disk quota exceeded", "File too large")
INSTALL = {
    "ssh": "install it (Debian: apt-get install openssh-client)",
    "adb": "install it (Debian: apt-get install adb; elsewhere Android's platform-tools)",
}

TORCH = ("executorch", "functorch", "torch", "torchgen")  # of a tree's site, what only .pte files need
NATIVE = (
    "'safedeploy device prepare arm64 --executorch' brings it, or give --executor-runner PATH, a program built for the "
    "device (docs/devices.md)"
)


class Wire(Protocol):
    """A way to a device. Every call raises UserError, one line, where the device does not answer or is full."""

    @property
    def name(self) -> str: ...

    def shell(self, script: str) -> str:
        """Standard output of a POSIX shell script that must succeed."""
        ...

    def upload(self, source: Path, place: str) -> None:
        """A file, or a folder with all that is in it, put at `place`, where nothing is yet."""
        ...

    def download(self, place: str, file: Path) -> None: ...

    def remote(self, line: str) -> list[str]:
        """The command that runs the shell line there, with its three streams here."""
        ...


@dataclass(frozen=True, eq=False)
class Remote:
    """A connection over `wire`. `python`: finds, or pushes, a Python that has the runtime named.

    `prefix`: words before those of every runner. `native`: a program built for the device that runs .pte files.
    """

    wire: Wire
    folder: str
    python: Python
    cores: tuple[int, ...] | None
    facts: Mapping[str, str]
    prefix: Sequence[str] = ()
    native: Path | None = None
    numbers: "count[int]" = field(default_factory=count)

    @property
    def name(self) -> str:
        return self.wire.name

    def state(self) -> DeviceState:
        return phone.state(self.wire.shell)

    def push(self, file: Path) -> str:
        place = f"{self.folder}/{next(self.numbers)}{file.suffix}"
        self.wire.upload(file, place)
        return place

    def fetch(self, place: str, file: Path) -> None:
        self.wire.download(place, file)

    def start(self, model: Path, log: IO[bytes]) -> tuple["subprocess.Popen[bytes]", str]:
        executorch = recognise(model) == "executorch"
        if executorch and self.native is not None:
            command = executor_runner.command(
                self.wire.remote(words([*self.prefix, self.program])), f"executor_runner {sha256(self.native)[:12]}"
            )
        else:
            launch = self.python("executorch" if executorch else "onnxruntime")
            temporary = f"TMPDIR={self.folder}"  # runtimes leave files there
            command = self.wire.remote("exec " + words(["env", temporary, *self.prefix, *launch(self.runner)]))
        place = self.push(model) if executorch else self._push_with_weights(model)
        return started(command, log), place

    def _push_with_weights(self, model: Path) -> str:
        """The place of an ONNX file, with the files beside it that hold its weights, if any."""
        beside = files_beside(model)
        if not beside:
            return self.push(model)
        root = f"{self.folder}/{next(self.numbers)}"
        for file in (model, *beside):
            place = f"{root}/{file.relative_to(model.parent).as_posix()}"
            self.wire.shell(f"mkdir -p {shlex.quote(place.rpartition('/')[0])}")
            self.wire.upload(file, place)
        return f"{root}/{model.name}"

    @cached_property
    def runner(self) -> str:
        return self.push(RUNNER)

    @cached_property
    def program(self) -> str:
        assert self.native is not None
        place = self.push(self.native)
        self.wire.shell(f"chmod 700 {place}")
        return place


def of_device(path: str) -> Python:
    """A Python that lies on the device; its runner says what it lacks."""
    return lambda runtime: lambda script: [path, script]


def of_tree(wire: Wire, folder: str) -> Python:
    """The aarch64 tree's Python, pushed when it is first asked for; torch, most of it, only where that is used."""
    root = f"{folder}/tree"
    tree = cache(build.open_tree)

    @cache
    def pushed(with_torch: bool) -> None:
        site = tree().root / "site"
        parts = [path for path in sorted(site.iterdir()) if (path.name in TORCH) == with_torch]
        if not with_torch:
            wire.shell(f"mkdir -p {root}/site")
            parts += [path for path in sorted(tree().root.iterdir()) if path != site]
        for path in parts:
            wire.upload(path, f"{root}/{path.relative_to(tree().root).as_posix()}")

    def launch(script: str) -> list[str]:
        variables = [f"{key}={value}" for key, value in build.environment(root).items()]
        return ["env", *variables, *build.command(root, script)]

    def python(runtime: Runtime) -> Launch:
        if runtime == "executorch" and not tree().has(runtime):
            raise UserError(f"{wire.name}: the aarch64 tree has no ExecuTorch, which .pte files need: {NATIVE}")
        pushed(with_torch=False)
        if runtime == "executorch":
            pushed(with_torch=True)
        return launch

    return python


def run(
    command: Sequence[str],
    name: str,
    *,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.PIPE,
    short: bool = True,
) -> "subprocess.CompletedProcess[bytes]":
    """A client's command, which Ctrl-C does not reach; one that is not `short` takes its time.

    Raises UserError where there is no client or no answer.
    """
    require(command[0], name)
    try:
        return subprocess.run(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=PATIENCE if short else None,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{name} gave no answer within {PATIENCE:.0f} s; see that it is awake and connected") from None


def require(client: str, name: str) -> None:
    if shutil.which(client) is None:
        raise UserError(f"{name}: there is no '{client}' here; {INSTALL[client]} and try again")


def fault(name: str, done: "subprocess.CompletedProcess[bytes]", advice: Sequence[tuple[str, str]]) -> UserError:
    """One line: the device, its client's words, and the first advice whose key is in them; '' is in all."""
    lines = [
        line.strip()
        for stream in (done.stderr, done.stdout)
        for line in (stream or b"").decode(errors="replace").splitlines()
        if line.strip()
    ]
    full = next((line for line in lines if any(told in line for told in FULL)), None)
    if full is not None:
        return UserError(f"{name} is full: {full[:300]}; free some storage there and try again")
    for key, remedy in advice:
        if line := next((line for line in lines if key in line), None):
            return UserError(f"{name}: {line[:300].rstrip('.')}; {remedy}")
    return UserError(f"{name}: exit code {done.returncode}; {advice[-1][1]}")


def new_folder(parent: str) -> str:
    """A folder's name that nobody else has, under `parent`."""
    return f"{parent}/safedeploy-{secrets.token_hex(4)}"


def words(command: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in command)
