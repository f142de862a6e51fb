"""What a device says of itself, read out of what real ones print; cores by number and by cluster."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.bench.devices import phone
from safedeploy.bench.devices.cores import chosen_cores, core_numbers, listed, mask
from safedeploy.errors import UserError

# highest frequencies in kHz, as published: Snapdragon 855 (1 + 3 + 4), RK3588 (4 + 4), Raspberry Pi 5
SNAPDRAGON_855 = {0: 1785600, 1: 1785600, 2: 1785600, 3: 1785600, 4: 2419200, 5: 2419200, 6: 2419200, 7: 2841600}
RK3588 = dict.fromkeys(range(4), 1800000) | dict.fromkeys(range(4, 8), 2400000)
RASPBERRY_PI_5 = dict.fromkeys(range(4), 2400000)

ZONE = "thermal_zone"

# `dumpsys battery` and `dumpsys power` of Android 13
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 77
  scale: 100
  voltage: 4173
  temperature: 284
  technology: Li-ion
"""
POWER = """POWER MANAGER (dumpsys power)

Power Manager State:
  mDirty=0x0
  mWakefulness=Dozing
  mWakefulnessChanging=false
"""


def says(text: str) -> Callable[[str], str]:
    return lambda script: text


@pytest.mark.parametrize(
    ("frequencies", "big", "little"),
    [(SNAPDRAGON_855, (4, 5, 6, 7), (0, 1, 2, 3)), (RK3588, (4, 5, 6, 7), (0, 1, 2, 3))],
)
def test_the_slowest_cluster_is_little_and_every_faster_one_big(
    frequencies: dict[int, int], big: tuple[int, ...], little: tuple[int, ...]
) -> None:
    assert chosen_cores("big", frequencies, "adb") == big
    assert chosen_cores("little", frequencies, "adb") == little


@pytest.mark.parametrize("frequencies", [RASPBERRY_PI_5, dict.fromkeys(range(2), 0), {}])
def test_a_machine_of_equal_or_silent_cores_has_no_clusters(frequencies: dict[int, int]) -> None:
    with pytest.raises(UserError, match="--cores big: ssh:pi tells of no clusters"):
        chosen_cores("big", frequencies, "ssh:pi")


def test_cores_that_are_not_there_are_named_with_those_that_are() -> None:
    assert chosen_cores("0-2,7", RK3588, "adb:X") == (0, 1, 2, 7)
    with pytest.raises(UserError, match="--cores 6-9: adb:X has the cores 0-7"):
        chosen_cores("6-9", RK3588, "adb:X")
    with pytest.raises(UserError, match="--cores large: give big, little, or the numbers"):
        chosen_cores("large", RK3588, "adb:X")


@given(st.sets(st.integers(0, 63), min_size=1))
def test_a_list_of_cores_reads_as_the_cores_it_was_made_of(cores: set[int]) -> None:
    assert core_numbers(listed(sorted(cores))) == tuple(sorted(cores))


@given(st.sets(st.integers(0, 63), min_size=1))
def test_a_mask_has_a_bit_a_core(cores: set[int]) -> None:
    bits = int(mask(tuple(cores)), 16)
    assert {core for core in range(64) if bits >> core & 1} == cores


def test_the_mask_of_the_four_big_cores_of_eight() -> None:
    assert mask((4, 5, 6, 7)) == "f0"


def test_cores_and_their_frequencies_are_read_from_sys() -> None:
    assert phone.cores(says("0-3\n0 1800000\n1 1800000\n2 2400000\nfreq \n")) == {
        0: 1800000,
        1: 1800000,
        2: 2400000,
        3: 0,
    }
    assert phone.cores(says("")) == {}


def test_the_warmest_zone_of_the_processor_counts_and_the_battery_only_without_one() -> None:
    zones = [("cpu-0-0-usr", "41200"), ("cpu-1-3-usr", "44700"), ("pmic-therm", "99000"), ("cpu-9", "-274000")]
    text = "".join(f"{ZONE}{i}/temp:{temp}\n{ZONE}{i}/type:{name}\n" for i, (name, temp) in enumerate(zones))
    silent = f"{ZONE}7/type:cpu-1-4-usr\n"
    assert phone.hottest(text + silent + BATTERY) == (44.7, "the warmest of 2 thermal zones of the processor")
    assert phone.hottest(silent + BATTERY) == (28.4, "battery")
    assert phone.hottest("") == (None, None)


@pytest.mark.parametrize(("value", "degrees"), [(45000, 45.0), (452, 45.2), (45, 45.0), (199, 199.0), (-5, -5.0)])
def test_thermal_zones_speak_in_thousandths_tenths_or_degrees(value: int, degrees: float) -> None:
    assert phone.celsius(value) == degrees


@pytest.mark.parametrize(("word", "screen"), [("Awake", "on"), ("Asleep", "off"), ("Dozing", "off")])
def test_the_screen_is_on_when_the_phone_is_awake(word: str, screen: str) -> None:
    found = phone.state(says(BATTERY + POWER.replace("Dozing", word)))
    assert (found.screen, found.temperature_c, found.sensor) == (screen, 28.4, "battery")


def test_a_machine_without_screen_or_sensor_tells_neither() -> None:
    found = phone.state(says(""))
    assert (found.screen, found.temperature_c, found.sensor) == (None, None, None)


def test_properties_are_those_the_phone_has() -> None:
    found = phone.properties(says("Google\nPixel 6a\n\ngs101\n14\n34\narm64-v8a\n"))
    assert found == {
        "manufacturer": "Google",
        "model": "Pixel 6a",
        "platform": "gs101",
        "android": "14",
        "api": "34",
        "abis": "arm64-v8a",
    }


def test_a_board_says_its_name_with_a_zero_byte_at_its_end() -> None:
    assert phone.board(says("Raspberry Pi 5 Model B Rev 1.0\0")) == {"model": "Raspberry Pi 5 Model B Rev 1.0"}
    assert phone.board(says("")) == {}
