"""The device that a name on the command line means."""

from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.cores import core_numbers
from safedeploy.bench.devices.local import Local
from safedeploy.bench.devices.qemu import QemuArm64
from safedeploy.bench.devices.tree import cpu
from safedeploy.errors import UserError, unknown

DEVICES = ("local", "qemu-arm64")


def choose(name: str = "local", *, cores: str | None = None) -> Device:
    """`name` as in --device, `cores` as in --cores. Raises UserError for a name that means no device."""
    if name == "local":
        return Local(cores=None if cores is None else core_numbers(cores))
    kind, _, rest = name.partition(":")
    if kind == "qemu-arm64":
        if cores is not None:
            raise UserError(f"--cores {cores}: {kind} is emulated, nothing is timed there; leave it out")
        if rest and rest not in cpu.CPUS:
            raise unknown("emulated core", rest, cpu.CPUS)
        return QemuArm64(rest or cpu.DEFAULT)
    raise unknown("device", name, DEVICES)
