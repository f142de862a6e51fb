"""A plan's claims beside what its files, made with random weights, are on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from safedeploy.artifacts.info import artifact_info
from safedeploy.bench.protocol import Measurement
from safedeploy.plan.advice import ENOUGH_WORK
from safedeploy.results import Plan, PlanCheck, PlannedFile
from safedeploy.results.plan import Precision

DISK, ENCODED, DOWNLOAD = 0.03, 0.05, 0.05  # how far an estimate may be off and still hold
BETWEEN = 2_000  # bytes: operators between the layers (poolings, reshapes), which no estimate counts
SAME = 0.05  # a time this near to the dense one's is the same
MEMORY = 0.1  # peaks vary between loads
DOT_PRODUCT = {"avx512_vnni", "avx_vnni", "asimddp"}  # as /proc/cpuinfo names them
# of the dense file of that precision, at most, while weights are decoded at load
LOAD_TIME: dict[Precision, float] = {"float32": 2.0, "int8": 4.0}
LOAD_PEAK: dict[Precision, float] = {"float32": 1.5, "int8": 2.5}


@dataclass(frozen=True)
class Pair:
    """A file of the dense model and the same file of the sparse one, timed in alternation."""

    planned: PlannedFile
    dense: Path
    sparse: Path
    dense_runs: Sequence[Measurement]
    sparse_runs: Sequence[Measurement]


def claims(plan: Plan, pairs: Sequence[Pair], flags: set[str]) -> list[PlanCheck]:
    """flags: the CPU's, as /proc/cpuinfo has them; int8 is claimed to be faster where it has a dot product for it."""
    found = [check for pair in pairs for check in (*_sizes(pair), _time(plan, pair), _memory(plan, pair))]
    if plan.structure == "irregular":
        found += [_load(pair) for pair in pairs if pair.planned.disk.planned < pair.planned.disk.dense]
    if flags & DOT_PRODUCT and plan.macs >= ENOUGH_WORK * len(plan.layers):
        found += _int8(pairs)
    return found


def _sizes(pair: Pair) -> list[PlanCheck]:
    dense, sparse = artifact_info(pair.dense), artifact_info(pair.sparse)
    name, planned = pair.planned.name, pair.planned
    encoded = planned.rules["disk"] == "onnxruntime-disk"
    return [
        _bytes(name, "disk, dense", planned.disk.dense, dense.size_bytes, DISK),
        _bytes(name, "disk, as planned", planned.disk.planned, sparse.size_bytes, ENCODED if encoded else DISK),
        _bytes(name, "download, dense", planned.download.dense, dense.zip_bytes, DOWNLOAD),
        _bytes(name, "download, as planned", planned.download.planned, sparse.zip_bytes, DOWNLOAD),
    ]


def _bytes(file: str, claim: str, said: int, measured: int, off: float) -> PlanCheck:
    around = max(said * off, BETWEEN)
    return _check(file, claim, "bytes", (said - around, said + around), (measured, measured, measured))


def _time(plan: Plan, pair: Pair) -> PlanCheck:
    found = median_interval(block_ratios(pair.dense_runs, pair.sparse_runs))
    if plan.structure == "irregular":
        return _check(pair.planned.name, "time, same as dense", "ratio", (1 - SAME, 1 + SAME), found)
    return _check(pair.planned.name, "time, of dense", "ratio", (0.0, 1.0), found)


def _memory(plan: Plan, pair: Pair) -> PlanCheck:
    """Peaks above the process before loading: weights, activations, the runtime's own."""
    ratios = [_peak(sparse) / _peak(dense) for dense, sparse in zip(pair.dense_runs, pair.sparse_runs, strict=True)]
    found = median_interval(ratios)
    if plan.structure == "irregular":
        return _check(
            pair.planned.name, "peak memory, no less", "ratio", (1 - MEMORY, LOAD_PEAK[pair.planned.precision]), found
        )
    return _check(pair.planned.name, "peak memory, less", "ratio", (0.0, 1.0), found)


def _load(pair: Pair) -> PlanCheck:
    ratios = [
        sparse.loaded["cold_load_ms"] / dense.loaded["cold_load_ms"]
        for dense, sparse in zip(pair.dense_runs, pair.sparse_runs, strict=True)
    ]
    most = LOAD_TIME[pair.planned.precision]
    return _check(pair.planned.name, "load, with decoding", "ratio", (0.0, most), median_interval(ratios))


def _int8(pairs: Sequence[Pair]) -> list[PlanCheck]:
    by_name: Mapping[str, Pair] = {pair.planned.name: pair for pair in pairs}
    found = []
    for float32, int8 in (("model.onnx", "model.int8.onnx"), ("model.pte", "model.int8.pte")):
        if float32 in by_name and int8 in by_name:
            ratios = block_ratios(by_name[float32].dense_runs, by_name[int8].dense_runs)
            found.append(_check(int8, f"time, of dense {float32}", "ratio", (0.0, 1 - SAME), median_interval(ratios)))
    return found


def block_ratios(first: Sequence[Measurement], other: Sequence[Measurement]) -> list[float]:
    """Of block medians that ran side by side."""
    return [
        float(np.median(b) / np.median(a))
        for before, after in zip(first, other, strict=True)
        for a, b in zip(before.blocks, after.blocks, strict=True)
    ]


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval by order statistics (David and Nagaraja 2003, section 7.1); all, of a few."""
    ordered: NDArray[np.float64] = np.sort(np.asarray(values, dtype=np.float64))
    rank = int(stats.binom.ppf(0.025, ordered.size, 0.5))
    low, high = ordered[max(0, rank - 1)], ordered[min(ordered.size - 1, ordered.size - rank)]
    return float(np.median(ordered)), float(low), float(high)


def _peak(run: Measurement) -> float:
    return max(1.0, float(run.peak_memory_bytes - run.loaded["baseline_memory_bytes"]))


def _check(
    file: str,
    claim: str,
    unit: Literal["bytes", "ratio", "share"],
    said: tuple[float, float | None],
    found: tuple[float, float, float],
) -> PlanCheck:
    (low, high), (measured, measured_low, measured_high) = said, found
    return PlanCheck(
        file=file,
        claim=claim,
        unit=unit,
        low=low,
        high=high,
        measured=measured,
        measured_low=measured_low,
        measured_high=measured_high,
        agrees=measured_high >= low and (high is None or measured_low <= high),
    )
