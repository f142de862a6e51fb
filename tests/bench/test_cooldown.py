"""A file's turn begins when the device is as cool as at first, or its patience is at an end."""

from dataclasses import dataclass, field

import pytest

from safedeploy.bench import cooldown
from safedeploy.bench.devices.local import Local
from safedeploy.results import DeviceState

COOL = DeviceState(temperature_c=30.0)


@dataclass(frozen=True)
class Cooling(Local):
    """This machine, with a temperature that falls from look to look."""

    degrees: list[float | None] = field(default_factory=list)

    def state(self) -> DeviceState:  # type: ignore[override]
        return DeviceState(temperature_c=self.degrees.pop(0))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooldown, "STEP", 0.01)


def test_a_cool_device_is_not_waited_for() -> None:
    assert cooldown.rest(Cooling(degrees=[31.9]), COOL, 60) == 0


def test_a_warm_one_is_until_it_is_cool() -> None:
    device = Cooling(degrees=[40, 36, 33, 31, 30])
    assert cooldown.rest(device, COOL, 60) == pytest.approx(0.03)
    assert device.degrees == [30]


def test_no_longer_than_allowed() -> None:
    assert cooldown.rest(Cooling(degrees=[40.0] * 99), COOL, 0.025) == pytest.approx(0.025)
    assert cooldown.rest(Cooling(degrees=[]), COOL, 0) == 0


@pytest.mark.parametrize("before", [None, DeviceState()])
def test_a_device_that_tells_no_temperature_is_not_waited_for(before: DeviceState | None) -> None:
    assert cooldown.rest(Cooling(degrees=[]), before, 60) == 0


def test_a_sensor_that_falls_silent_is_not_waited_for() -> None:
    assert cooldown.rest(Cooling(degrees=[40, None]), COOL, 60) == pytest.approx(0.01)
