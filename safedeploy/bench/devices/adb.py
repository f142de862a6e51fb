"""An Android device over adb: the aarch64 tree and the files in /data/local/tmp, on the cores asked for."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safedeploy.bench.devices import phone, remote
from safedeploy.bench.devices.cores import chosen_cores, mask
from safedeploy.bench.devices.tree import elf
from safedeploy.errors import UserError

FOLDERS = "/data/local/tmp"  # the one place where a shell may run what it wrote
ABI = "arm64-v8a"
MACHINES = {elf.AARCH64: ABI, elf.X86_64: "x86_64"}  # by e_machine
ADVICE = (
    ("unauthorized", "unlock it and allow USB debugging from this computer, then try again"),
    ("still authorizing", "unlock it and allow USB debugging from this computer, then try again"),
    ("offline", "unplug it and plug it in again, or 'adb reconnect'"),
    ("no permissions", "allow your user to open it (Debian: apt-get install android-sdk-platform-tools-common)"),
    ("not found", "connect it again; 'adb devices' lists what is there"),
    ("no devices", "connect it again; 'adb devices' lists what is there"),
    ("Connection refused", "switch on wireless debugging there, and check the port"),
    ("", "see that it is awake and connected, and that 'adb shell' alone reaches it"),
)
NO_SHELL = "its Android is older than 7, whose shell gives no exit codes: take a newer device"


@dataclass(frozen=True)
class Adb:
    """`serial` None: the only device there is. `cores`: as in --cores. `python`: one on the device, None: the tree's.

    `native`: a program built for the device that runs .pte files.
    """

    serial: str | None = None
    cores: str | None = None
    python: str | None = None
    native: Path | None = None
    emulated: bool = False

    @property
    def name(self) -> str:
        return f"adb:{self.serial}" if self.serial else "adb"

    @contextlib.contextmanager
    def opened(self) -> Iterator[remote.Remote]:
        with reached(self.serial or os.environ.get("ANDROID_SERIAL")) as serial:
            wire = AdbWire(serial)
            facts = phone.properties(wire.shell)
            self._require_abi(wire.name, facts)
            chosen = None if self.cores is None else chosen_cores(self.cores, phone.cores(wire.shell), wire.name)
            folder = remote.new_folder(FOLDERS)
            python = self.python
            try:
                wire.shell(f"mkdir -m 700 {folder}")
                yield remote.Remote(
                    wire,
                    folder,
                    python=remote.of_tree(wire, folder)
                    if python is None
                    else lambda _: lambda script: [python, script],
                    cores=chosen,
                    facts=facts,
                    prefix=[] if chosen is None else ["taskset", mask(chosen)],
                    native=self.native,
                )
            finally:
                with contextlib.suppress(UserError):  # a device that is gone cannot be cleaned up
                    wire.shell(f"rm -rf {folder}")

    def _require_abi(self, name: str, facts: dict[str, str]) -> None:
        """Raises UserError where the device does not run what would be pushed."""
        abis = facts.get("abis", "").split(",")
        runs = f"{name} runs programs for {', '.join(abis) or 'an unknown processor'}"
        if self.native is not None:
            fits = MACHINES.get(elf.machine(self.native), "another processor")
            if elf.is_elf(self.native) and fits not in abis:
                raise UserError(f"{runs}, and {self.native} is for {fits}: build it for the device")
        elif self.python is None and ABI not in abis:
            raise UserError(f"{runs}, and the tree is for {ABI}: take a device with a 64-bit Arm system")


@dataclass(frozen=True)
class AdbWire:
    serial: str

    @property
    def name(self) -> str:
        return f"adb:{self.serial}"

    def remote(self, line: str) -> list[str]:
        return ["adb", "-s", self.serial, "shell", "-T", line]

    def shell(self, script: str) -> str:
        done = remote.run(self.remote(script), self.name)
        if done.returncode:
            raise remote.fault(self.name, done, ADVICE)
        return done.stdout.decode(errors="replace")

    def upload(self, source: Path, place: str) -> None:
        self._copied("push", str(source.resolve()), place)

    def download(self, place: str, file: Path) -> None:
        self._copied("pull", place, str(file.resolve()))

    def _copied(self, direction: str, source: str, place: str) -> None:
        done = remote.run(["adb", "-s", self.serial, direction, source, place], self.name, short=False)
        if done.returncode:
            raise remote.fault(self.name, done, ADVICE)


@contextlib.contextmanager
def reached(serial: str | None) -> Iterator[str]:
    """The serial of the device that is meant; one that was not connected, HOST:PORT, is while this lasts.

    Raises UserError where it is not there or not ready, where there is none, and where there are several.
    """
    found = listed()
    connected = False
    if serial is not None and serial not in found and ":" in serial:
        connect(serial)
        connected, found = True, listed()
    try:
        yield ready(serial, found)
    finally:
        if connected:
            remote.run(["adb", "disconnect", serial or ""], f"adb:{serial}")


def ready(serial: str | None, found: dict[str, str]) -> str:
    """`serial`, or that of the only device, out of `found`: states by serial."""
    if serial is None:
        if not found:
            raise UserError("adb sees no device: plug one in, switch on USB debugging there, and see 'adb devices'")
        if len(found) > 1:
            named = ", ".join(f"adb:{one}" for one in found)
            raise UserError(f"adb sees {len(found)} devices: say which with --device ({named})")
        (serial,) = found
    state = found.get(serial, "not found")
    if state != "device":
        raise UserError(f"adb:{serial} is {state}; {next(text for key, text in ADVICE if key in state)}")
    if "shell_v2" not in adb("-s", serial, "features").split():
        raise UserError(f"adb:{serial}: {NO_SHELL}")
    return serial


def listed() -> dict[str, str]:
    """The state of every device that adb sees, by serial: device, offline, unauthorized, no permissions …"""
    rows = [line.partition("\t") for line in adb("devices").splitlines() if "\t" in line]
    return {serial: state.strip() for serial, _, state in rows}


def connect(serial: str) -> None:
    """Raises UserError where nobody listens at HOST:PORT; adb says so with exit code 0."""
    answer = adb("connect", serial).strip()
    if "connected to" not in answer:
        raise UserError(f"adb:{serial}: {answer}; {next(text for key, text in ADVICE if key in answer)}")


def adb(*arguments: str) -> str:
    done = remote.run(["adb", *arguments], "adb")
    if done.returncode:
        raise remote.fault("adb", done, ADVICE)
    return done.stdout.decode(errors="replace")
