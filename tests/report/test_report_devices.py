"""Timings of other devices in a report: who they were, how warm, whether whole, and no speed of an emulated one."""

from safedeploy.report import words
from safedeploy.report.markdown import timings_markdown
from safedeploy.results import ArtifactInfo, DeviceState, Percentiles, Timing

PHONE = {"cpu": "0xd44", "manufacturer": "Google", "model": "Pixel 6a", "soc": "GS101"}


def timing(**changes: object) -> Timing:
    one = Timing(
        artifact=ArtifactInfo(path="model.pte", sha256="0" * 64, format="executorch", size_bytes=9, zip_bytes=9),
        device="adb:R58M",
        machine=PHONE,
        runtime="executor_runner 54d2057f08a7",
        threads=1,
        protocol="quick",
        batch=1,
        cold_load_ms=1,
        first_inference_ms=1,
        latency_ms=Percentiles(p50=4.2, p90=5, p99=6, mean=4.4, queries=2000, seconds=10),
        peak_memory_bytes=4_000_000,
        baseline_memory_bytes=None,
        cores=[4, 5],
        before=DeviceState(screen="off", temperature_c=28.5, sensor="battery"),
        after=DeviceState(screen="off", temperature_c=31.0, sensor="battery"),
        cooldown_seconds=12,
    )
    return one.model_copy(update=changes)


def test_a_phone_is_named_with_its_cores_temperature_and_pauses() -> None:
    table = timings_markdown([timing()]).replace(words.NBSP, " ")
    assert "device R58M over adb (Google Pixel 6a GS101); cores 4, 5; screen off; 28.5 to 31.0 °C (battery)" in table
    assert "12 s of pauses to cool down" in table
    assert "4.2 ms" in table
    assert "before loading" not in table


def test_what_a_device_that_failed_left_is_called_incomplete() -> None:
    lost = timing(complete=False, after=None)
    table = timings_markdown([lost]).replace(words.NBSP, " ")
    assert "incomplete: 2,000 queries" in table
    assert "28.5 °C (battery)" in table


def test_an_emulated_device_behind_a_wire_has_no_speed() -> None:
    table = timings_markdown([timing(machine=PHONE | {"emulator": "qemu-aarch64-st"})]).replace(words.NBSP, " ")
    assert "adb:R58M, emulated;" in table
    assert "not a speed: emulated" in table
    assert "4.2 ms" not in table


def test_this_machine_is_told_without_cores_or_temperature() -> None:
    here = timing(device="local", machine={"cpu": "Some CPU"}, before=None, after=None, cooldown_seconds=0)
    assert "| this machine (Some CPU) |" in timings_markdown([here])
