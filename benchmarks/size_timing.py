"""What a compact file costs at run time, beside the dense files in turns: latency, load, peak and resident memory."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import Rules, measure, ratio
from safedeploy.bench.session import opened

MEMORY = """
import ctypes, gc, sys
import numpy as np, onnxruntime as ort

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
heap = type("mallinfo2", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in FIELDS.split()]})
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = heap

def memory():
    gc.collect()
    libc.malloc_trim(0)
    lines = open("/proc/self/status").read().splitlines()
    resident = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    told = libc.mallinfo2()
    return np.array([resident, told.uordblks + told.hblkhd])

options = ort.SessionOptions()
options.intra_op_num_threads = 1
memory()
before = memory()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
taken = session.get_inputs()[0]
session.run(None, {taken.name: np.zeros([1, *taken.shape[1:]], dtype=np.float32)})
print(*(memory() - before))
"""


def latency_ratio(path: Path, dense: Path, rules: Rules) -> float:
    """Median latency over the dense file's, block by block, one thread, batch 1."""
    first, other = measure([dense, path], rules, threads=1, device=Local())
    return ratio(first, other, str(dense)).median


def loads(paths: Sequence[Path], repeats: int) -> list[tuple[float, float]]:
    """For each file: median ms until a session is ready, median bytes that loading adds to the process at its peak.

    A process a load; the files take turns. The first turn, which fetches the files from disk, is not counted.
    """
    found: list[list[tuple[float, float]]] = [[] for _ in paths]
    for turn in range(repeats + 1):
        for path, of_file in zip(paths, found, strict=True):
            with opened(path, Local()) as session:
                loaded = session.load(1, 0)
                peak = session.ask("memory")["peak_memory_bytes"] - loaded["baseline_memory_bytes"]
            if turn:
                of_file.append((loaded["cold_load_ms"], peak))
    return [(median(ms for ms, _ in of_file), median(peak for _, peak in of_file)) for of_file in found]


def memory_ratios(path: Path, dense: Path, repeats: int) -> tuple[float, float]:
    """What a loaded session and one query add to a process, over the dense file's: resident bytes, free heap pages
    given back, and bytes in use, those that malloc has handed out.

    Resident is the larger where ONNX Runtime's arena, most of which is never touched, lies in pages that decoding has.
    """
    found = [(_memory(path), _memory(dense)) for _ in range(repeats)]
    resident, in_use = (median(ours[k] / theirs[k] for ours, theirs in found) for k in range(2))
    return resident, in_use


def _memory(path: Path) -> list[int]:
    done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], check=True, capture_output=True, text=True)
    return [int(part) for part in done.stdout.split()]
