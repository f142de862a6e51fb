"""One file timed on one device (`bench/*.json`)."""

from typing import Literal

from safedeploy.results.base import ArtifactInfo, Result, ResultFile


class Percentiles(Result):
    """Latency of one query, milliseconds."""

    p50: float
    p90: float
    p99: float
    mean: float
    queries: int
    seconds: float


class Ratio(Result):
    """This file's median latency over the first file's, from alternating blocks.

    The interval is the 2.5th to 97.5th percentile of block ratios.
    """

    baseline: str
    median: float
    low: float
    high: float
    blocks: int


class DeviceState(Result):
    """A device at one moment. `screen`: on, off, or unknown. `sensor` says what the temperature, °C, is of."""

    screen: Literal["on", "off"] | None = None
    temperature_c: float | None = None
    sensor: str | None = None


class Timing(ResultFile):
    """One file timed on one device (`bench/*.json`).

    `peak_memory_bytes` is the resident peak of a process that holds this file alone; `baseline_memory_bytes`: before
    the file was loaded, none where the runtime does not tell. `machine` is what the machine said of itself. `complete`
    is false where the device failed before the protocol was met; `cores`: those the runner was kept to. `before` and
    `after`: the device around the turns of all files; `cooldown_seconds`: how long this file waited in all for the
    device to be as cool as before.
    """

    artifact: ArtifactInfo
    device: str
    machine: dict[str, str]
    runtime: str
    threads: int
    protocol: Literal["quick", "full"]
    batch: int
    cold_load_ms: float
    first_inference_ms: float
    latency_ms: Percentiles
    peak_memory_bytes: int
    baseline_memory_bytes: int | None
    ratio: Ratio | None = None
    complete: bool = True
    cores: list[int] | None = None
    before: DeviceState | None = None
    after: DeviceState | None = None
    cooldown_seconds: float = 0.0
