"""What reaching a device over a wire has in common: one command that runs others there, and its faults in one line."""

import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import IO

from safedeploy.errors import UserError

Shell = Callable[[str], str]  # runs a POSIX shell script on a device; its standard output

PATIENCE = 60.0  # seconds a short command may take
FULL = ("No space left on device", "Disk quota exceeded")
INSTALL = {
    "ssh": "install it (Debian: apt-get install openssh-client)",
    "adb": "install it (Debian: apt-get install adb; elsewhere Android's platform-tools)",
}


def run(
    command: Sequence[str],
    name: str,
    *,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.PIPE,
    patience: float | None = PATIENCE,
) -> "subprocess.CompletedProcess[bytes]":
    """A client's command, which Ctrl-C does not reach. Raises UserError where there is no client or no answer."""
    try:
        return subprocess.run(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=patience,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError(f"{name}: there is no '{command[0]}' here; {INSTALL[command[0]]} and try again") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{name} gave no answer within {patience:.0f} s; see that it is awake and connected") from None


def said(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The last words of a command that failed."""
    text = (done.stderr or b"") + b"\n" + (done.stdout or b"")
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    faults = [line for line in lines if "error" in line.lower() or any(full in line for full in FULL)]
    stderr = [line for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
    return (faults or stderr[-1:] or lines[-1:] or [f"exit code {done.returncode}"])[0].strip()[:300]


def fault(name: str, words: str, advice: Sequence[tuple[str, str]]) -> UserError:
    """One line: the device, its client's words, and the advice whose beginning is found in them, else the last one."""
    if any(full in words for full in FULL):
        return UserError(f"{name} is full: {words}; free some storage there and try again")
    told = next((told for found, told in advice if found in words))
    return UserError(f"{name}: {words}; {told}")


def new_folder(parent: str) -> str:
    """A folder's name that nobody else has, under `parent`."""
    return f"{parent}/safedeploy-{secrets.token_hex(4)}"


def words(command: Sequence[str]) -> str:
    return " ".join(shlex.quote(word) for word in command)
