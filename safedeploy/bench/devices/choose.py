"""The device that a name on the command line means."""

from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.cores import core_numbers
from safedeploy.bench.devices.local import Local
from safedeploy.errors import unknown

DEVICES = ("local",)


def choose(name: str = "local", *, cores: str | None = None) -> Device:
    """`name` as in --device, `cores` as in --cores. Raises UserError for a name that means no device."""
    if name == "local":
        return Local(cores=None if cores is None else core_numbers(cores))
    raise unknown("device", name, DEVICES)
