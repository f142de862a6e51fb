"""What a device says of itself: its name and system, its cores, its screen and its temperature."""

import re
from collections.abc import Callable

from safedeploy.bench.devices.cores import core_numbers
from safedeploy.results.timing import DeviceState

Shell = Callable[[str], str]  # runs a POSIX shell script on a device; its standard output

PROPERTIES = {  # of Android, by what a result calls them
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "platform": "ro.board.platform",
    "android": "ro.build.version.release",
    "api": "ro.build.version.sdk",
    "abis": "ro.product.cpu.abilist",
}
CPU_ZONE = re.compile(r"cpu|soc|x86_pkg|^(big|mid|little)$", re.IGNORECASE)  # thermal zones that follow the processor
ZONES = "cd /sys/class/thermal/ 2>/dev/null && grep -H . thermal_zone*/type thermal_zone*/temp 2>/dev/null"
BATTERY = "dumpsys battery 2>/dev/null"
POWER = "dumpsys power 2>/dev/null"
CORES = (
    "cat /sys/devices/system/cpu/present; for c in /sys/devices/system/cpu/cpu[0-9]*; do "
    'echo "${c##*/cpu} $(cat $c/cpufreq/cpuinfo_max_freq 2>/dev/null)"; done'
)


def properties(shell: Shell) -> dict[str, str]:
    """Of an Android device; a property that it has not is left out."""
    names = list(PROPERTIES)
    answered = shell("; ".join(f'echo "$(getprop {PROPERTIES[name]})"' for name in names)).splitlines()
    return {name: value.strip() for name, value in zip(names, answered, strict=False) if value.strip()}


def board(shell: Shell) -> dict[str, str]:
    """What a board's firmware calls it, as in 'Raspberry Pi 5 Model B'; nothing on other machines."""
    model = shell("cat /proc/device-tree/model 2>/dev/null || true").strip("\0 \n")
    return {"model": model} if model else {}


def cores(shell: Shell) -> dict[int, int]:
    """The highest frequency of every core, kHz, by its number; 0 where the device does not tell."""
    first, *lines = shell(CORES).splitlines() or [""]
    found = dict.fromkeys(core_numbers(first.strip()), 0) if first.strip() else {}
    for line in lines:
        core, _, frequency = line.partition(" ")
        if core.isdigit():
            found[int(core)] = int(frequency) if frequency.strip().isdigit() else 0
    return dict(sorted(found.items()))


def state(shell: Shell) -> DeviceState:
    text = shell(f"{ZONES}; {BATTERY}; {POWER}; true")
    awake = re.search(r"mWakefulness=(\w+)", text)
    temperature, sensor = hottest(text)
    screen = None if awake is None else "on" if awake[1] == "Awake" else "off"
    return DeviceState(screen=screen, temperature_c=temperature, sensor=sensor)


def hottest(text: str) -> tuple[float | None, str | None]:
    """The warmest of the processor's thermal zones, else the battery, in °C; and which sensor that is."""
    told: dict[str, dict[str, str]] = {}
    for zone, kind, value in re.findall(r"thermal_zone(\d+)/(type|temp):(.*)", text):
        told.setdefault(zone, {})[kind] = value.strip()
    degrees = [
        celsius(int(zone["temp"]))
        for zone in told.values()
        if CPU_ZONE.search(zone.get("type", "")) and re.fullmatch(r"-?\d+", zone.get("temp", ""))
    ]
    zones = [value for value in degrees if 0 < value < 150]
    if zones:
        return max(zones), f"the warmest of {len(zones)} thermal zones of the processor"
    battery = re.search(r"^\s*temperature: (\d+)", text, re.MULTILINE)
    return (int(battery[1]) / 10, "battery") if battery else (None, None)


def celsius(value: int) -> float:
    """A thermal zone's number: thousandths of a degree, on some devices tenths or whole degrees."""
    return value / 1000 if abs(value) >= 1000 else value / 10 if abs(value) >= 200 else float(value)
