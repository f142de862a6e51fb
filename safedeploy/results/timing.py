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


class Timing(ResultFile):
    """One file timed on one device (`bench/*.json`).

    `peak_memory_bytes` is the resident peak of a process that holds this file alone.
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
    baseline_memory_bytes: int
    ratio: Ratio | None = None
