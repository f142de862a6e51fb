"""Speaks as `runner.py` does for a program that cannot: ExecuTorch's executor_runner, built for a device, lying there.

Runs on this machine as a process beside the timing protocol, and starts the program anew for every command:
ExecuTorch 1.3 and newer log the load time and each iteration's, on standard error, or on Android in the system's log.
"""

import json
import math
import re
import shlex
import subprocess
import sys
from typing import Any

MOST = 1000  # iterations a start: Android's log keeps a few thousand lines
LOADED = re.compile(r"Model loaded in ([0-9.]+) ms")
ITERATION = re.compile(r"Iteration \d+ of \d+: ([0-9.]+) ms")
BATCH = re.compile(r"tensor\(sizes=\[(\d+)")
FAULT = re.compile(r"^(?:[EF] [0-9:.]+ |.* [EF] ExecuTorch\s*: )(.*)$", re.MULTILINE)
SYSTEM = (
    "uname -m; uname -s -r; grep Cpus_allowed_list /proc/self/status; "
    'grep -m 1 -E "^(model name|Hardware|CPU part)" /proc/cpuinfo'
)


def command(remote: list[str], label: str) -> list[str]:
    """What starts this file: `remote` runs the shell line it ends with on the device; `label` names the program."""
    return [sys.executable, "-I", __file__, label, *remote]


def main() -> None:
    label, *remote = sys.argv[1:]
    model, threads, latency_ms, peak = "", 1, 0.0, 0
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["command"] == "load":
                model, threads = asked["model"], asked["threads"]
                said = loaded(remote, label, model, threads, asked.get("cores"))
                latency_ms = said["first_inference_ms"]
            elif asked["command"] == "block":
                times = block(remote, model, threads, asked["seconds"], latency_ms)
                latency_ms = sorted(times)[len(times) // 2]
                said = {"latencies_ns": [round(time * 1e6) for time in times]}
            elif asked["command"] == "memory":
                peak = peak or peak_memory(remote, model, threads)  # every start has the same
                said = {"peak_memory_bytes": peak}
            else:
                raise ValueError(f"executor_runner has no way to {asked['command']}")
        except ValueError as error:
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)


def loaded(remote: list[str], label: str, model: str, threads: int, cores: list[int] | None) -> dict[str, Any]:
    text = run(remote, flags(model, threads, 1))
    load, first, batch = LOADED.search(text), ITERATION.search(text), BATCH.search(text)
    if not load or not first:
        raise ValueError("executor_runner logs no load and iteration times; build it from ExecuTorch 1.3 or newer")
    architecture, system, allowed, cpu = (ask(remote, SYSTEM).splitlines() + [""] * 4)[:4]
    return {
        "format": "executorch",
        "runtime": label,
        "threads": threads,
        "cores": cores or numbers(allowed.partition(":")[2]),
        "batch": int(batch[1]) if batch else 1,
        "machine": {"cpu": cpu.partition(":")[2].strip() or architecture, "architecture": architecture, "os": system},
        "cold_load_ms": float(load[1]),
        "first_inference_ms": float(first[1]),
        "baseline_memory_bytes": None,
    }


def block(remote: list[str], model: str, threads: int, seconds: float, latency_ms: float) -> list[float]:
    """Milliseconds of each iteration but the first, which finds the caches cold."""
    count = min(max(math.ceil(seconds * 1000 / max(latency_ms, 1e-3)), 1), MOST)
    return [float(time) for time in ITERATION.findall(run(remote, flags(model, threads, count + 1, quiet=True)))][1:]


def peak_memory(remote: list[str], model: str, threads: int) -> int:
    """Bytes: the kernel's high-water mark of a program that has been at it for a second."""
    line = f"{remote[-1]} {flags(model, threads, 10**6, quiet=True)}"
    found = re.search(
        r"VmHWM:\s*(\d+) kB", ask(remote, f"{line} >/dev/null 2>&1 & p=$!; sleep 1; cat /proc/$p/status; kill $p")
    )
    if not found:
        raise ValueError("executor_runner ended before its memory could be read")
    return int(found[1]) * 1024


def flags(model: str, threads: int, count: int, *, quiet: bool = False) -> str:
    told = f"--model_path={model} --cpu_threads={threads} --num_executions={count}"
    return told + " --print_output=none" * quiet


def run(remote: list[str], told: str) -> str:
    """Everything a start of the program said. Raises ValueError with its last words where it failed."""
    log = "command -v logcat >/dev/null && sleep 0.2 && logcat -d -s ExecuTorch --pid=$p 2>/dev/null"  # it lags behind
    return ask(remote, f"{remote[-1]} {told} 2>&1 & p=$!; wait $p; c=$?; {log}; exit $c")


def ask(remote: list[str], script: str) -> str:
    line = [*remote[:-1], f"sh -c {shlex.quote(script)}"]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        faults = FAULT.findall(done.stdout)
        lines = [one for one in (done.stdout + "\n" + done.stderr).splitlines() if one.strip()]
        raise ValueError((faults or lines or [f"exit code {done.returncode}"])[-1].strip())
    return done.stdout


def numbers(text: str) -> list[int]:
    """'0-3,6' → [0, 1, 2, 3, 6]."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


if __name__ == "__main__":
    main()
