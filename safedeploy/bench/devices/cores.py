"""Which cores a runner keeps to: numbers, or a cluster by its name."""

import re

from safedeploy.errors import UserError


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


def chosen_cores(text: str, frequencies: dict[int, int], name: str) -> tuple[int, ...]:
    """The cores that --cores means: 'little' the slowest cluster, 'big' all faster ones, else numbers.

    Raises UserError where the device has no such cores.
    """
    known = sorted(frequencies)
    if text in ("big", "little"):
        speeds = {speed for speed in frequencies.values() if speed}
        if len(speeds) < 2:
            raise UserError(f"--cores {text}: {name} tells of no clusters; give numbers out of {listed(known)}")
        slowest = min(speeds)
        return tuple(core for core in known if (frequencies[core] == slowest) == (text == "little"))
    try:
        wanted = core_numbers(text)
    except UserError:
        raise UserError(f"--cores {text}: give big, little, or the numbers of cores, as in 4-7") from None
    if known and not set(wanted) <= set(known):
        raise UserError(f"--cores {text}: {name} has the cores {listed(known)}")
    return wanted


def listed(cores: list[int]) -> str:
    """[0, 1, 2, 5] → '0-2,5'."""
    spans: list[list[int]] = []
    for core in cores:
        if spans and spans[-1][1] == core - 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def mask(cores: tuple[int, ...]) -> str:
    """As taskset takes it: hexadecimal, a bit a core."""
    return f"{sum(1 << core for core in cores):x}"
