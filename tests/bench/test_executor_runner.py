"""A .pte file timed by the executor_runner that a user built: its log, read as it is on Linux and on Android.

The program itself is in no package. What stands for it here prints what one printed that was built from ExecuTorch
1.4.0 for Linux, with the portable kernels; on Android the same lines go to the system's log.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_daemon import Daemon, Phone, Server, listening
from programs import needed

from safedeploy.bench.devices import executor_runner
from safedeploy.bench.devices.choose import choose
from safedeploy.bench.measure import Measurement, Rules, measure
from safedeploy.errors import UserError

RULES = Rules(queries=30, seconds=0.0001, block_seconds=0.0002)

SAID = """I 00:00:00.000079 executorch:executor_runner.cpp:476] Model file ../linear.pte is loaded.
I 00:00:00.000107 executorch:executor_runner.cpp:486] Using method forward
I 00:00:00.000110 executorch:executor_runner.cpp:556] Setting up CPU planned buffer 0, size 2864.
I 00:00:00.000126 executorch:executor_runner.cpp:624] Model loaded in 0.061795 ms.
I 00:00:00.000154 executorch:executor_runner.cpp:779] Iteration 1 of 4: 0.017604 ms
I 00:00:00.000160 executorch:executor_runner.cpp:779] Iteration 2 of 4: 0.003975 ms
I 00:00:00.000165 executorch:executor_runner.cpp:779] Iteration 3 of 4: 0.003621 ms
I 00:00:00.000169 executorch:executor_runner.cpp:779] Iteration 4 of 4: 0.003696 ms
I 00:00:00.000170 executorch:executor_runner.cpp:789] Model executed successfully 4 time(s) in 0.028896 ms.
I 00:00:00.000172 executorch:executor_runner.cpp:798] 1 outputs:
OutputX 0: tensor(sizes=[1, 10], [-0.464416, -0.535889, -0.750404, -0.707668, 0.173531, -0.148044])
"""
REFUSED = """E 00:00:00.000067 executorch:program.cpp:168] Program identifier 'rt t' != expected 'ET12'
E 00:00:00.000084 executorch:executor_runner.cpp:473] Failed to parse model file model.pte
"""

PROGRAM = r"""#!/bin/sh
for told in "$@"; do case "$told" in --num_executions=*) n=${told#*=};; --model_path=*) model=${told#*=};; esac; done
[ -s "$model" ] || exit 9
{
echo "@Model loaded in 0.061795 ms."
i=1
while [ $i -le $n ] && [ $i -le 2000 ]; do
  if [ $i = 1 ]; then echo "@Iteration 1 of $n: 0.017604 ms"; else echo "@Iteration $i of $n: 0.003975 ms"; fi
  i=$((i + 1))
done
[ $n -gt 2000 ] && sleep 30
} | sed "s|^@|$BEFORE|" SINK
echo "OutputX 0: tensor(sizes=[1, 10], [-0.464416])"
"""
BEFORE = "I 00:00:00.000154 executorch:executor_runner.cpp:779] "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needed("adb", "adb")
    found = Server(tmp_path_factory.mktemp("adb"))
    with pytest.MonkeyPatch.context() as patch:
        for key, value in found.environment.items():
            patch.setenv(key, value)
        yield found
    found.adb("kill-server")


@pytest.fixture
def daemon(server: Server, tmp_path: Path) -> Iterator[Daemon]:
    with listening(Phone(tmp_path / "phone")) as found:
        yield found


@pytest.fixture
def pte(tmp_path: Path) -> Path:
    path = tmp_path / "model.pte"
    path.write_bytes(b"\x1c\0\0\0ET12" + bytes(64))
    return path


def program(folder: Path, text: str) -> Path:
    path = folder / "executor_runner"
    path.write_text(text)
    path.chmod(0o755)
    return path


def timed(pte: Path, daemon: Daemon, runner: Path, **options: str) -> Measurement:
    device = choose(f"adb:{daemon.serial}", executor_runner=runner, **options)
    (one,) = measure([pte], RULES, threads=1, device=device)
    return one


def test_times_are_read_out_of_what_the_real_program_printed() -> None:
    assert executor_runner.LOADED.findall(SAID) == ["0.061795"]
    assert executor_runner.ITERATION.findall(SAID) == ["0.017604", "0.003975", "0.003621", "0.003696"]
    assert executor_runner.BATCH.findall(SAID) == ["1"]
    assert executor_runner.FAULT.findall(REFUSED)[-1].endswith("Failed to parse model file model.pte")


@pytest.mark.parametrize(("text", "cores"), [("0", [0]), ("0-3,6", [0, 1, 2, 3, 6]), ("\t0-1\n", [0, 1]), ("", [])])
def test_the_kernels_list_of_cores(text: str, cores: list[int]) -> None:
    assert executor_runner.numbers(text) == cores


def test_a_file_is_timed_iteration_by_iteration_without_each_starts_first(
    pte: Path, daemon: Daemon, tmp_path: Path
) -> None:
    runner = program(tmp_path, PROGRAM.replace("$BEFORE", BEFORE).replace("SINK", ">&2"))
    one = timed(pte, daemon, runner, cores=str(min(os.sched_getaffinity(0))))
    assert (one.loaded["cold_load_ms"], one.loaded["first_inference_ms"]) == (0.061795, 0.017604)
    assert set(one.latencies.tolist()) == {3975}
    assert one.latencies.size >= RULES.queries
    assert one.loaded["cores"] == [min(os.sched_getaffinity(0))]
    assert one.loaded["batch"] == 1
    assert one.loaded["runtime"].startswith("executor_runner ")
    assert one.loaded["baseline_memory_bytes"] is None
    assert one.peak_memory_bytes > 100_000
    assert one.loaded["machine"]["model"] == "Pixel 6a"
    assert list(daemon.phone.storage.iterdir()) == []


def test_on_android_the_times_are_in_the_systems_log(pte: Path, daemon: Daemon, tmp_path: Path) -> None:
    log = daemon.phone.folder / "log"
    before = "11-22 08:30:01.123  4321  4321 I ExecuTorch: "
    runner = program(tmp_path, PROGRAM.replace("$BEFORE", before).replace("SINK", f"> {log}"))
    daemon.phone.program("logcat", f"cat {log}\n")
    one = timed(pte, daemon, runner)
    assert one.loaded["cold_load_ms"] == 0.061795
    assert set(one.latencies.tolist()) == {3975}


def test_a_program_older_than_1_3_tells_no_times_and_is_refused(pte: Path, daemon: Daemon, tmp_path: Path) -> None:
    runner = program(tmp_path, "#!/bin/sh\necho 'I x] Model executed successfully 1 time(s) in 0.028896 ms.'\n")
    with pytest.raises(UserError, match=r"build it from ExecuTorch 1\.3 or newer") as caught:
        timed(pte, daemon, runner)
    assert "\n" not in str(caught.value)


def test_a_file_the_program_refuses_is_one_line_in_its_own_words(pte: Path, daemon: Daemon, tmp_path: Path) -> None:
    runner = program(tmp_path, f"#!/bin/sh\ncat >&2 <<'END'\n{REFUSED}END\nexit 1\n")
    with pytest.raises(UserError, match="Failed to parse model file") as caught:
        timed(pte, daemon, runner)
    assert "\n" not in str(caught.value)


def test_a_program_for_another_processor_is_refused_before_it_is_pushed(
    pte: Path, daemon: Daemon, tmp_path: Path
) -> None:
    x86 = tmp_path / "executor_runner"
    x86.write_bytes(b"\x7fELF\x02\x01" + bytes(12) + (62).to_bytes(2, "little"))
    with pytest.raises(UserError, match=r"arm64-v8a, .* and .*executor_runner is for x86_64: build it for the device"):
        timed(pte, daemon, x86)


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--executor-runner .*: no such file"):
        choose("adb", executor_runner=tmp_path / "none")


def test_it_is_for_real_devices_alone() -> None:
    with pytest.raises(UserError, match=r"--executor-runner .*: it is for files timed over ssh or adb"):
        choose("local", executor_runner=Path(sys.executable))
    with pytest.raises(UserError, match=r"--python .*: it is for files timed over ssh or adb"):
        choose("qemu-arm64", python="python3")
