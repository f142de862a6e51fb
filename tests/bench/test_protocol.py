"""Timing a file: enough queries, ratios from neighbouring blocks, memory of the file alone, one line when it fails."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import PROTOCOLS, Measurement, Rules, bench, measure, percentiles, ratio, share_done
from safedeploy.bench.session import opened
from safedeploy.errors import UserError

Stack = Callable[[int, int], Path]
SHORT = Rules(queries=40, seconds=0.2, block_seconds=0.02)


def test_the_named_protocols_are_mlperf_mobiles() -> None:
    assert (PROTOCOLS["quick"].queries, PROTOCOLS["quick"].seconds) == (128, 10)
    assert (PROTOCOLS["full"].queries, PROTOCOLS["full"].seconds) == (1024, 60)


def test_both_counts_and_seconds_are_met(stack: Stack) -> None:
    seen: list[float] = []
    (only,) = measure([stack(16, 1)], SHORT, threads=1, device=Local(), progress=seen.append)
    figures = percentiles(only.latencies)
    assert figures.queries >= SHORT.queries
    assert figures.seconds >= SHORT.seconds
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert only.loaded["cold_load_ms"] > 0
    assert only.loaded["first_inference_ms"] > 0
    assert (only.loaded["batch"], only.loaded["threads"]) == (1, 1)
    assert {"cpu", "cores", "os"} <= set(only.loaded["machine"])


def test_a_slow_model_is_slower_in_the_ratio(stack: Stack) -> None:
    """Sixteen times the products of 512 × 512 take well over four times as long on any machine."""
    paths = [stack(512, 1), stack(512, 16)]
    fast, slow = measure(paths, SHORT, threads=1, device=Local())
    compared = ratio(fast, slow, "fast")
    assert compared.low <= compared.median <= compared.high
    assert compared.median > 4
    assert compared.blocks == len(fast.blocks) == len(slow.blocks)


def test_a_file_beside_itself_has_a_ratio_of_one(stack: Stack) -> None:
    path = stack(256, 4)
    first, second = measure([path, path], SHORT, threads=1, device=Local())
    assert ratio(first, second, "itself").median == pytest.approx(1, abs=0.25)


def test_ratio_of_hand_made_blocks() -> None:
    def of(*blocks: list[int]) -> Measurement:
        return Measurement({}, [np.array(block, dtype=np.int64) for block in blocks], 0)

    compared = ratio(of([10, 10, 99], [20]), of([30, 30], [40]), "first")
    assert (compared.median, compared.blocks) == (2.5, 2)
    assert 2 <= compared.low < 2.5 < compared.high <= 3


def test_percentiles_are_milliseconds() -> None:
    figures = percentiles(np.arange(1, 101, dtype=np.int64) * 1_000_000)
    assert (figures.p50, figures.mean, figures.queries, figures.seconds) == (50.5, 50.5, 100, 5.05)
    assert figures.p90 == pytest.approx(90.1)
    assert figures.p99 == pytest.approx(99.01)


def test_share_done_is_of_the_slower_requirement() -> None:
    blocks = [np.full(10, 50_000_000, dtype=np.int64)]
    assert share_done(blocks, Rules(queries=40, seconds=1)) == 0.25
    assert share_done(blocks, Rules(queries=10, seconds=2)) == 0.25
    assert share_done([], Rules(queries=10, seconds=2)) == 0


def test_a_hundred_megabytes_of_weights_show_in_the_peak(stack: Stack) -> None:
    small, large = measure([stack(16, 1), stack(5000, 1)], SHORT, threads=1, device=Local())
    extra = (large.peak_memory_bytes - small.peak_memory_bytes) / 1e6
    assert 95 < extra < 320  # the parsed file, the tensor, and the copy packed for the product
    assert abs(large.loaded["baseline_memory_bytes"] - small.loaded["baseline_memory_bytes"]) < 10e6


def test_the_peak_is_of_the_runner_and_not_of_whoever_started_it(stack: Stack) -> None:
    ballast = np.ones(60_000_000)
    (only,) = measure([stack(16, 1)], SHORT, threads=1, device=Local())
    assert only.peak_memory_bytes < ballast.nbytes / 2


def test_only_one_runner_is_busy_at_a_time(stack: Stack) -> None:
    """Processor time of two runners together cannot exceed the time that passed."""
    with opened(stack(256, 4), Local()) as first, opened(stack(256, 2), Local()) as second:
        for session in (first, second):
            session.load(threads=1, seed=0)
        before = processor_seconds(first.process.pid), processor_seconds(second.process.pid)
        first.ask("block", seconds=0.5)
        assert processor_seconds(first.process.pid) - before[0] > 0.1
        assert processor_seconds(second.process.pid) - before[1] < 0.05


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_killed_runner_gives_one_line_and_leaves_no_process(stack: Stack) -> None:
    path = stack(16, 1)
    with opened(path, Local()) as session, opened(path, Local()) as other:
        session.load(threads=1, seed=0)
        other.load(threads=1, seed=0)
        session.process.kill()
        with pytest.raises(UserError) as caught:
            session.ask("block", seconds=0.1)
    assert "SIGKILL" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert session.process.returncode is not None
    assert other.process.returncode is not None


def test_a_model_the_runner_refuses_gives_one_line(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["y"])],
        "pixels",
        [value("pixels", TensorProto.UINT8, ["n", 4])],
        [value("y", TensorProto.UINT8, ["n", 4])],
    )
    path = tmp_path / "pixels.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(UserError, match=r"'pixels' tensor\(uint8\)") as caught:
        measure([path], SHORT, threads=1, device=Local())
    assert "\n" not in str(caught.value)


def test_ctrl_c_ends_every_runner(stack: Stack) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from safedeploy.bench.devices.local import Local
        from safedeploy.bench.protocol import Rules, measure
        say = lambda done: print(done, flush=True)
        measure([Path(sys.argv[1])] * 2, Rules(10**9, 600.0, 0.05), threads=1, device=Local(), progress=say)
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(stack(16, 1))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    runners = children(parent.pid)
    assert len(runners) == 2
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=20)
    assert parent.returncode != 0
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in runners) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in runners)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_bad_requests_get_one_line(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to time"):
        bench([])
    with pytest.raises(UserError, match="--threads 0"):
        bench([stack(16, 1)], threads=0)
    with pytest.raises(UserError, match="does not exist"):
        bench([tmp_path / "none.onnx"])


def test_local_cores_reach_the_runner(stack: Stack) -> None:
    core = min(os.sched_getaffinity(0))
    (only,) = measure([stack(16, 1)], SHORT, threads=1, device=Local(cores=(core,)))
    assert only.loaded["cores"] == [core]
    with pytest.raises(UserError, match="there is no core 9999 to run on"):
        measure([stack(16, 1)], SHORT, threads=1, device=Local(cores=(9999,)))


def test_an_emulated_device_gives_no_latency(stack: Stack) -> None:
    with pytest.raises(UserError, match="emulated: agreement only") as caught:
        bench([stack(16, 1)], device=Local(name="emulator", emulated=True))
    assert "\n" not in str(caught.value)


def test_weights_alone_are_not_timed(tmp_path: Path) -> None:
    import safetensors.numpy

    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(UserError, match="no runtime runs"):
        bench([path])


@pytest.mark.slow
def test_the_quick_protocol_on_two_files(stack: Stack) -> None:
    first, second = bench([stack(16, 1), stack(64, 2)], protocol="quick")
    for timing in (first, second):
        assert timing.latency_ms.queries >= 128
        assert timing.latency_ms.seconds >= 10
        assert timing.latency_ms.p50 <= timing.latency_ms.p90 <= timing.latency_ms.p99
        assert timing.runtime.startswith("onnxruntime ")
        assert timing.device == "local"
    assert first.ratio is None
    assert second.ratio is not None
    assert second.ratio.baseline == first.artifact.path
