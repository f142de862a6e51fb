"""The timing protocol: MLPerf Mobile single stream (batch 1, queries back to back), files in alternating blocks."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.info import artifact_info
from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.local import Local
from safedeploy.bench.measure import Measurement, Rules, UnfinishedError, measure, share_done
from safedeploy.errors import UserError, missing_extra
from safedeploy.results import ArtifactInfo, Percentiles, Ratio, Timing

__all__ = [
    "COOLDOWN",
    "PROTOCOLS",
    "Measurement",
    "Rules",
    "UnfinishedError",
    "bench",
    "measure",
    "percentiles",
    "ratio",
    "share_done",
]

Progress = Callable[[float], None]
COOLDOWN = 60.0  # seconds a file


PROTOCOLS = {"quick": Rules(queries=128, seconds=10), "full": Rules(queries=1024, seconds=60)}


def bench(
    paths: Sequence[Path],
    *,
    protocol: Literal["quick", "full"] = "quick",
    threads: int = 1,
    device: Device | None = None,
    cooldown: float = COOLDOWN,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time model files on a device (None: this machine), one result a file, in order.

    quick: at least 128 queries and 10 s a file; full: 1,024 and 60 s. Files after the first get their ratio to it.
    `Timing.threads` and `Timing.batch` are what really ran, which a runtime or a fixed batch may force.
    Cold load is the first in a fresh process; the operating system may have the file cached.
    cooldown: how many seconds a file may wait in all for the device to be as cool as at first.
    Raises UserError where a file is no model or its runner fails; UnfinishedError, with what was measured, where the
    device fails under way.
    """
    if not paths:
        raise UserError("nothing to time; give a model file (.onnx or .pte)")
    if threads < 1:
        raise UserError(f"--threads {threads}: a file is timed on at least 1 thread")
    device = device or Local()
    require_real(device)
    infos = [artifact_info(Path(path)) for path in paths]
    for info in infos:
        if info.format == "torch":
            raise UserError(f"{info.path} holds weights alone, which no runtime runs; give the exported .onnx or .pte")
        if info.format == "executorch" and isinstance(device, Local) and find_spec("executorch") is None:
            raise missing_extra("timing a .pte file", "executorch")
    rules = PROTOCOLS[protocol]

    def timings(measured: Sequence[Measurement]) -> list[Timing]:
        return [
            timing(info, one, protocol, None if one is measured[0] else ratio(measured[0], one, infos[0].path))
            for info, one in zip(infos, measured, strict=False)  # what is missing of an unfinished one is at its end
        ]

    try:
        return timings(measure(paths, rules, threads=threads, device=device, cooldown=cooldown, progress=progress))
    except UnfinishedError as error:
        error.timings = timings(error.measured)
        raise


def timing(info: ArtifactInfo, one: Measurement, protocol: Literal["quick", "full"], compared: Ratio | None) -> Timing:
    return Timing(
        artifact=info,
        device=one.device,
        machine=one.loaded["machine"],
        runtime=one.loaded["runtime"],
        threads=one.loaded["threads"],
        protocol=protocol,
        batch=one.loaded["batch"],
        cold_load_ms=one.loaded["cold_load_ms"],
        first_inference_ms=one.loaded["first_inference_ms"],
        latency_ms=percentiles(one.latencies),
        peak_memory_bytes=one.peak_memory_bytes,
        baseline_memory_bytes=one.loaded["baseline_memory_bytes"],
        ratio=compared,
        complete=one.complete,
        cores=one.loaded["cores"],
        before=one.before,
        after=one.after,
        cooldown_seconds=one.cooldown_seconds,
    )


def require_real(device: Device) -> None:
    """Raises UserError for a device whose speed means nothing."""
    if device.emulated:
        raise UserError(f"{device.name} is emulated: agreement only, no latency; time the file on a real device")


def percentiles(latencies: NDArray[np.int64]) -> Percentiles:
    """Of latencies in nanoseconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(latencies, [50, 90, 99]) / 1e6)
    total = float(latencies.sum())
    return Percentiles(
        p50=p50, p90=p90, p99=p99, mean=total / latencies.size / 1e6, queries=latencies.size, seconds=total / 1e9
    )


def ratio(first: Measurement, other: Measurement, baseline: str) -> Ratio:
    """The median and the 2.5th to 97.5th percentile of block medians' ratios: block i of both ran side by side."""
    ratios = [float(np.median(b) / np.median(a)) for a, b in zip(first.blocks, other.blocks, strict=False)]
    low, median, high = (float(value) for value in np.percentile(ratios, [2.5, 50, 97.5]))
    return Ratio(baseline=baseline, median=median, low=low, high=high, blocks=len(ratios))
