"""The device that a name on the command line means."""

from pathlib import Path

from safedeploy.bench.devices.adb import Adb
from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.cores import core_numbers
from safedeploy.bench.devices.local import Local
from safedeploy.bench.devices.qemu import QemuArm64
from safedeploy.bench.devices.ssh import Ssh, parse
from safedeploy.bench.devices.tree import cpu
from safedeploy.errors import UserError, unknown

DEVICES = ("local", "qemu-arm64", "ssh:USER@HOST", "adb", "adb:SERIAL")


def choose(
    name: str = "local",
    *,
    cores: str | None = None,
    python: str | None = None,
    executor_runner: Path | None = None,
) -> Device:
    """`name` as in --device, the others as the options of their names. Raises UserError for what means no device."""
    kind, _, rest = name.partition(":")
    if executor_runner is not None and not executor_runner.is_file():
        raise UserError(f"--executor-runner {executor_runner}: no such file; give a program built for the device")
    if kind == "ssh" and rest:
        host, port = parse(rest)
        return Ssh(host, port, cores, python, executor_runner)
    if kind == "adb":
        return Adb(rest or None, cores, python, executor_runner)
    for option, value in (("--python", python), ("--executor-runner", executor_runner)):
        if value is not None:
            raise UserError(f"{option} {value}: it is for files timed over ssh or adb; give --device, or leave it out")
    if name == "local":
        return Local(cores=None if cores is None else core_numbers(cores))
    if kind == "qemu-arm64":
        if cores is not None:
            raise UserError(f"--cores {cores}: {kind} is emulated, nothing is timed there; leave it out")
        if rest and rest not in cpu.CPUS:
            raise unknown("emulated core", rest, cpu.CPUS)
        return QemuArm64(rest or cpu.DEFAULT)
    raise unknown("device", name, DEVICES)
