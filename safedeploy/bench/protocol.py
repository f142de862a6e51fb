"""The timing protocol: MLPerf Mobile single stream (batch 1, queries back to back), files in alternating blocks."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.info import artifact_info
from safedeploy.bench.devices.base import Device
from safedeploy.bench.devices.local import Local
from safedeploy.bench.session import Session, opened
from safedeploy.errors import UserError, missing_extra
from safedeploy.results import Percentiles, Ratio, Timing

Progress = Callable[[float], None]
SEED = 0


@dataclass(frozen=True)
class Rules:
    """A file is timed until it has both `queries` and `seconds` inside queries; turns of `block_seconds` alternate."""

    queries: int
    seconds: float
    block_seconds: float = 0.5


PROTOCOLS = {"quick": Rules(queries=128, seconds=10), "full": Rules(queries=1024, seconds=60)}


@dataclass(frozen=True, eq=False)
class Measurement:
    """`loaded`: the runner's answer to 'load'. `blocks`: latencies in nanoseconds, an array a block."""

    loaded: dict[str, Any]
    blocks: list[NDArray[np.int64]]
    peak_memory_bytes: int

    @property
    def latencies(self) -> NDArray[np.int64]:
        return np.concatenate(self.blocks)


def bench(
    paths: Sequence[Path],
    *,
    protocol: Literal["quick", "full"] = "quick",
    threads: int = 1,
    device: Device | None = None,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time model files on a device (None: this machine), one result a file, in order.

    quick: at least 128 queries and 10 s a file; full: 1,024 and 60 s. Files after the first get their ratio to it.
    `Timing.threads` and `Timing.batch` are what really ran, which a runtime or a fixed batch may force.
    Cold load is the first in a fresh process; the operating system may have the file cached.
    Raises UserError where a file is no model or its runner fails.
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
    measured = measure(paths, PROTOCOLS[protocol], threads=threads, device=device, progress=progress)
    return [
        Timing(
            artifact=info,
            device=device.name,
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
            ratio=None if one is measured[0] else ratio(measured[0], one, infos[0].path),
        )
        for info, one in zip(infos, measured, strict=True)
    ]


def measure(
    paths: Sequence[Path], rules: Rules, *, threads: int, device: Device, progress: Progress | None = None
) -> list[Measurement]:
    """Time `paths` by `rules`: a runner each, one busy at a time, in turns A B C A B C … until all have enough."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(device.opened())
        sessions: list[Session] = []
        loaded = []
        for path in paths:  # one after another: the peak of one load must not slow the next
            sessions.append(stack.enter_context(opened(Path(path), connection)))
            loaded.append(sessions[-1].load(threads, SEED))
        blocks: list[list[NDArray[np.int64]]] = [[] for _ in paths]
        while (done := min(share_done(of_file, rules) for of_file in blocks)) < 1:
            if progress:
                progress(done)
            for session, of_file in zip(sessions, blocks, strict=True):
                answer = session.ask("block", seconds=rules.block_seconds)
                of_file.append(np.array(answer["latencies_ns"], dtype=np.int64))
        peaks = [session.ask("memory")["peak_memory_bytes"] for session in sessions]
    if progress:
        progress(1.0)
    return [Measurement(*one) for one in zip(loaded, blocks, peaks, strict=True)]


def require_real(device: Device) -> None:
    """Raises UserError for a device whose speed means nothing."""
    if device.emulated:
        raise UserError(f"{device.name} is emulated: agreement only, no latency; time the file on a real device")


def share_done(blocks: Sequence[NDArray[np.int64]], rules: Rules) -> float:
    """How much of `rules` the blocks have met, 0 to 1."""
    queries = sum(block.size for block in blocks)
    seconds = sum(float(block.sum()) for block in blocks) / 1e9
    return min(queries / rules.queries, seconds / rules.seconds, 1.0)


def percentiles(latencies: NDArray[np.int64]) -> Percentiles:
    """Of latencies in nanoseconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(latencies, [50, 90, 99]) / 1e6)
    total = float(latencies.sum())
    return Percentiles(
        p50=p50, p90=p90, p99=p99, mean=total / latencies.size / 1e6, queries=latencies.size, seconds=total / 1e9
    )


def ratio(first: Measurement, other: Measurement, baseline: str) -> Ratio:
    """The median and the 2.5th to 97.5th percentile of block medians' ratios: block i of both ran side by side."""
    ratios = [float(np.median(b) / np.median(a)) for a, b in zip(first.blocks, other.blocks, strict=True)]
    low, median, high = (float(value) for value in np.percentile(ratios, [2.5, 50, 97.5]))
    return Ratio(baseline=baseline, median=median, low=low, high=high, blocks=len(ratios))
