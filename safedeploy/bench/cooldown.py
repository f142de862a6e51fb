"""A pause until a device is as cool as it was: warm processors are slowed down, and no file pays for another's heat."""

import time

from safedeploy.bench.devices.base import Connection
from safedeploy.results.timing import DeviceState

TOLERANCE = 2.0  # °C; sensors of phones show whole degrees
STEP = 1.0  # seconds between two looks


def rest(device: Connection, before: DeviceState | None, allowed: float) -> float:
    """Seconds waited, at most `allowed`, until the device is at most TOLERANCE warmer than `before`.

    None at all where it tells no temperature. Raises UserError where it has vanished.
    """
    if before is None or before.temperature_c is None:
        return 0.0
    waited = 0.0
    while waited < allowed:
        now = device.state()
        if now is None or now.temperature_c is None or now.temperature_c <= before.temperature_c + TOLERANCE:
            break
        pause = min(STEP, allowed - waited)
        time.sleep(pause)
        waited += pause
    return waited
