"""The device that a name on the command line means."""

import re

from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.local import Local
from safedeploy.errors import UserError, unknown

DEVICES = ("local",)


def choose(name: str = "local", *, cores: str | None = None) -> Device:
    """`name` as in --device, `cores` as in --cores. Raises UserError for a name that means no device."""
    if name == "local":
        return Local(cores=None if cores is None else core_numbers(cores))
    raise unknown("device", name, DEVICES)


def core_numbers(text: str) -> tuple[int, ...]:
    """'0,2-4' → (0, 2, 3, 4)."""
    found: set[int] = set()
    for part in text.split(","):
        matched = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        low, high = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if high < low:
            raise UserError(f"--cores {text}: give the numbers of cores, as in 0,1 or 4-7")
        found |= set(range(low, high + 1))
    return tuple(sorted(found))
