"""The one file sent to a device: opens a model in its runtime, times it and lets it answer, told by JSON lines.

Needs Python 3.9 or newer, numpy and the model's runtime, nothing else of safedeploy. Commands, one a line on standard
input:
  {"command": "load", "model": PATH, "threads": N, "seed": N, "cores": [N, …] or null}  ->  runtime, format, threads,
      cores, batch, machine, cold_load_ms, first_inference_ms, baseline_memory_bytes
  {"command": "block", "seconds": S}  ->  latencies_ns: one number a query, queries back to back for S seconds
  {"command": "answer", "inputs": PATH.npy, "outputs": PATH.npy, "output": NAME or null}  ->  samples: how many of the
      inputs (n, …) were answered; the file `outputs` holds the answers (n, …) of that output, null: the first
  {"command": "memory"}  ->  peak_memory_bytes
Every answer is one line on standard output; {"error": TEXT} where a command failed. The end of input ends the runner.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INPUTS = 8  # different samples in turn, made before the clock starts
BATCH = 64  # samples answered at once where a file leaves that free
FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
TOKENS = {"tensor(int64)": "int64", "tensor(int32)": "int32"}
INT64 = 4  # ScalarType of ExecuTorch's runtime/core/portable_type/scalar_type.h


@dataclass(frozen=True)
class Model:
    """`query`: answers one of the random inputs. `answer`: the answers to a whole batch, of an output or the first."""

    query: Callable[[], None]
    answer: Callable[[Any, str | None], Any]
    batch: int  # 0: any size


def main() -> None:
    # native code may write to standard output: the answers get a descriptor of their own
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model: Model | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["command"] == "load":
                pin(asked.get("cores"))
                model, said = load(asked["model"], asked["threads"], asked["seed"])
            elif asked["command"] == "memory":
                said = {"peak_memory_bytes": peak_memory()}
            elif model is None:
                raise ValueError("no model is loaded")
            elif asked["command"] == "block":
                said = {"latencies_ns": block(model.query, asked["seconds"])}
            else:
                said = {"samples": answer(model, asked["inputs"], asked["outputs"], asked.get("output"))}
        except Exception as error:
            said = {"error": " ".join(str(error).split()) or type(error).__name__}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


def pin(cores: list[int] | None) -> None:
    """Keep to `cores`, and every thread that is made from now on with us."""
    if cores is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("this system pins no process to cores")
    there = os.sched_getaffinity(0)
    if absent := set(cores) - there:
        named = [", ".join(map(str, sorted(some))) for some in (absent, there)]
        raise ValueError(f"there is no core {named[0]} to run on (there are {named[1]})")
    os.sched_setaffinity(0, cores)


def load(model: str, threads: int, seed: int) -> tuple[Model, dict[str, Any]]:
    """The model, with random inputs for its queries, normal or tokens, and what is known after the first."""
    with Path(model).open("rb") as handle:
        is_executorch = handle.read(8)[4:] == b"ET12"
    return (open_executorch if is_executorch else open_onnx)(model, threads, seed)


def answer(model: Model, inputs: str, outputs: str, output: str | None) -> int:
    """Answers to all of `inputs`, in batches of the size the model takes; the last one is filled up with zeros."""
    import numpy as np

    x = np.load(inputs)
    step, found = model.batch or BATCH, []
    for start in range(0, len(x), step):
        part = x[start : start + step]
        missing = (model.batch or len(part)) - len(part)
        filled = np.concatenate([part, np.zeros((missing, *x.shape[1:]), x.dtype)])
        found.append(np.asarray(model.answer(filled, output))[: len(part)])
    np.save(outputs, np.concatenate(found))
    return len(x)


def block(query: Callable[[], None], seconds: float) -> list[int]:
    """Latency of each query in nanoseconds; the first, which finds the caches cold after a pause, is not counted."""
    query()
    latencies = []
    now = time.perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end:
        start = time.perf_counter_ns()
        query()
        now = time.perf_counter_ns()
        latencies.append(now - start)
    return latencies


def open_onnx(model: str, threads: int, seed: int) -> tuple[Model, dict[str, Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    baseline = resident_memory()
    start = time.perf_counter_ns()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter_ns()
    taken = session.get_inputs()
    if len(taken) != 1 or taken[0].type not in {**FLOATS, **TOKENS}:
        named = ", ".join(f"'{one.name}' {one.type}" for one in taken)
        raise ValueError(f"it takes {named}, not one input of floating-point numbers or tokens")
    sizes = [size if isinstance(size, int) and size > 0 else 0 for size in taken[0].shape]
    shape = [size or 1 for size in sizes]
    name, dtype = taken[0].name, {**FLOATS, **TOKENS}[taken[0].type]
    turn = turns([{name: x} for x in samples(shape, dtype, seed)])

    def query() -> None:
        session.run(None, next(turn))

    def answer(x: Any, output: str | None) -> Any:
        return session.run([output or session.get_outputs()[0].name], {name: x.astype(dtype)})[0]

    first = timed(query)
    known = facts("onnx", "onnxruntime " + ort.__version__, threads, shape[0], baseline, loaded - start, first)
    return Model(query, answer, sizes[0]), known


def open_executorch(model: str, threads: int, seed: int) -> tuple[Model, dict[str, Any]]:
    import importlib.metadata

    import torch

    # the bindings alone: executorch.runtime would load the exporter beside them, and with it all that needs
    from executorch.extension.pybindings import _portable_lib

    _portable_lib._unsafe_reset_threadpool(threads)
    baseline = resident_memory()
    start = time.perf_counter_ns()
    program = _portable_lib._load_program(model)
    method = program.load_method("forward")
    loaded = time.perf_counter_ns()
    taken = program.method_meta("forward").input_tensor_meta(0)
    exported, dtype = list(taken.sizes()), "int64" if taken.dtype() == INT64 else "float32"
    batch = 1
    try:
        feeds = [[torch.from_numpy(x)] for x in samples([1, *exported[1:]], dtype, seed)]
        first = timed(lambda: method(feeds[0]))
    except RuntimeError:  # the metadata do not say whether the batch is fixed
        batch = exported[0]
        feeds = [[torch.from_numpy(x)] for x in samples(exported, dtype, seed)]
        first = timed(lambda: method(feeds[0]))

    turn = turns(feeds)

    def query() -> None:
        method(next(turn))

    def answer(x: Any, output: str | None) -> Any:
        return method([torch.from_numpy(x.astype(dtype))])[0].numpy()

    name = "executorch " + importlib.metadata.version("executorch")
    pool = _portable_lib._threadpool_get_thread_count()
    return Model(query, answer, batch), facts("executorch", name, pool, batch, baseline, loaded - start, first)


def samples(shape: list[int], dtype: str, seed: int) -> list[Any]:
    import numpy as np

    generator = np.random.default_rng(seed)
    if dtype in TOKENS.values():  # 0 and 1 are in every vocabulary, and how long a look-up takes hangs on no number
        return [generator.integers(0, 2, shape).astype(dtype) for _ in range(INPUTS)]
    return [generator.standard_normal(shape).astype(dtype) for _ in range(INPUTS)]


def turns(feeds: list[Any]) -> Iterator[Any]:
    while True:
        yield from feeds


def timed(query: Callable[[], Any]) -> int:
    """Nanoseconds of one call."""
    start = time.perf_counter_ns()
    query()
    return time.perf_counter_ns() - start


def facts(
    kind: str, runtime: str, threads: int, batch: int, baseline: int, load_ns: int, first_ns: int
) -> dict[str, Any]:
    return {
        "format": kind,
        "runtime": runtime,
        "threads": threads,
        "cores": sorted(affinity()),
        "batch": batch,
        "machine": machine(),
        "cold_load_ms": load_ns / 1e6,
        "first_inference_ms": first_ns / 1e6,
        "baseline_memory_bytes": baseline,
    }


def resident_memory() -> int:
    return proc_status("VmRSS") or peak_memory()


def peak_memory() -> int:
    """Bytes: the kernel's high-water mark; ru_maxrss on Linux begins at the size of the process that started this."""
    unit = 1 if sys.platform == "darwin" else 1024
    return proc_status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def proc_status(field: str) -> int:
    """A field of /proc/self/status in bytes; 0 where there is none."""
    return int(colon_file("/proc/self/status").get(field, "0").split()[0]) * 1024


def machine() -> dict[str, str]:
    cpus = colon_file("/proc/cpuinfo")
    named = [cpus[key] for key in ("model name", "Hardware", "CPU part") if cpus.get(key)]
    program = colon_file("/proc/self/status").get("Name", "")
    emulated = {"emulator": program} if program.startswith("qemu-") else {}  # the kernel's name for what really runs
    return emulated | {
        "cpu": named[0] if named else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": str(len(affinity())),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def affinity() -> set[int]:
    """The cores this process may run on; all of them where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def colon_file(path: str) -> dict[str, str]:
    """A file of 'key: value' lines; empty where it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as handle:
            pairs = [line.split(":", 1) for line in handle if ":" in line]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, value in pairs}


if __name__ == "__main__":
    main()
