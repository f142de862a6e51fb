"""Files timed over adb: Debian's real client and server, and a device daemon on loopback that runs what it is sent."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from adb_daemon import Daemon, Phone, Server, listening
from programs import needed

from safedeploy import pipeline
from safedeploy.bench import cooldown, session
from safedeploy.bench.devices import remote
from safedeploy.bench.devices.choose import choose
from safedeploy.bench.devices.tree import build
from safedeploy.bench.measure import Measurement, Rules, UnfinishedError, measure
from safedeploy.bench.session import opened
from safedeploy.errors import UserError
from safedeploy.results import Timing

Stack = Callable[[int, int], Path]
SHORT = Rules(queries=20, seconds=0.05, block_seconds=0.02)
ENDLESS = Rules(queries=10**9, seconds=600, block_seconds=0.02)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needed("adb", "adb")
    server = Server(tmp_path_factory.mktemp("adb"))
    yield server
    server.adb("kill-server")


@pytest.fixture
def server(machine: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for key, value in machine.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    yield machine
    machine.adb("disconnect")


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    cores = sorted(os.sched_getaffinity(0))
    return Phone(tmp_path / "phone", frequencies={core: 1800000 if core == cores[0] else 2800000 for core in cores})


@pytest.fixture
def daemon(server: Server, phone: Phone) -> Iterator[Daemon]:
    with listening(phone) as found:
        yield found


def one_line(caught: "pytest.ExceptionInfo[UserError]", device: str) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert device in text
    return text


def timed(paths: list[Path], name: str, cores: str | None = None) -> list[Measurement]:
    """With this machine's Python standing for one on the device."""
    return measure(paths, SHORT, threads=1, device=choose(name, python=sys.executable, cores=cores))


# the daemon itself, as the real client finds it


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_003])
def test_the_daemon_keeps_what_is_pushed_byte_for_byte(
    server: Server, daemon: Daemon, tmp_path: Path, size: int
) -> None:
    server.adb("connect", daemon.serial)
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "here").write_bytes(content)
    assert server.adb("push", str(tmp_path / "here"), "/data/local/tmp/there").returncode == 0
    assert (daemon.phone.storage / "there").read_bytes() == content
    assert server.adb("pull", "/data/local/tmp/there", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == content


def test_the_daemon_keeps_folders_links_and_the_right_to_run(server: Server, daemon: Daemon, tmp_path: Path) -> None:
    server.adb("connect", daemon.serial)
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "deep" / "run").chmod(0o755)
    (folder / "link").symlink_to("deep/run")
    assert server.adb("push", str(folder), "/data/local/tmp/folder").returncode == 0
    assert server.adb("shell", "/data/local/tmp/folder/link").stdout == "ran\n"
    assert (daemon.phone.storage / "folder" / "link").is_symlink()


def test_the_daemon_runs_commands_with_two_outputs_and_an_exit_code(server: Server, daemon: Daemon) -> None:
    server.adb("connect", daemon.serial)
    done = server.adb("shell", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert server.adb("exec-out", "echo raw").stdout == "raw\n"


# files on a device


def test_files_are_timed_on_the_big_cores_and_nothing_stays(phone: Phone, daemon: Daemon, stack: Stack) -> None:
    phone.thermal = {"cpu-0-0-usr": 31.4, "battery": 29.0}
    phone.make()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    first, second = timed([stack(16, 1), stack(64, 2)], f"adb:{daemon.serial}", cores="big")
    for one in (first, second):
        assert one.device == f"adb:{daemon.serial}"
        assert one.loaded["cores"] == cores[1:]
        assert (one.loaded["machine"]["model"], one.loaded["machine"]["android"]) == ("Pixel 6a", "14")
        assert one.before == one.after
        assert one.before is not None
        assert (one.before.screen, one.before.temperature_c) == ("on", 31.4)
        assert one.complete
        assert one.latencies.size >= SHORT.queries
    assert list(phone.storage.iterdir()) == []


def test_the_only_device_needs_no_serial_and_a_dark_screen_is_noted(
    server: Server, phone: Phone, daemon: Daemon, stack: Stack
) -> None:
    phone.awake = False
    phone.make()
    server.adb("connect", daemon.serial)
    (one,) = timed([stack(16, 1)], "adb")
    assert one.device == f"adb:{daemon.serial}"
    assert one.before is not None
    assert (one.before.screen, one.before.temperature_c, one.before.sensor) == ("off", 28.5, "battery")


def test_a_device_that_was_not_connected_is_not_afterwards(server: Server, daemon: Daemon, stack: Stack) -> None:
    timed([stack(16, 1)], f"adb:{daemon.serial}")
    assert daemon.serial not in server.adb("devices").stdout
    server.adb("connect", daemon.serial)
    timed([stack(16, 1)], f"adb:{daemon.serial}")
    assert daemon.serial in server.adb("devices").stdout


def test_a_warm_phone_is_waited_for_no_longer_than_allowed(
    phone: Phone, daemon: Daemon, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cooldown, "STEP", 0.05)
    phone.thermal = {"cpu-0-0-usr": 30.0}
    phone.make()

    def progress(done: float) -> None:
        phone.thermal = {"cpu-0-0-usr": 55.0}  # hot from the first turn on
        phone.make()

    device = choose(f"adb:{daemon.serial}", python=sys.executable)
    (one,) = measure([stack(16, 1)], SHORT, threads=1, device=device, cooldown=0.2, progress=progress)
    assert one.cooldown_seconds == pytest.approx(0.2)
    assert one.after is not None
    assert one.after.temperature_c == 55.0


def test_weights_beside_a_file_travel_with_it(daemon: Daemon, stack: Stack, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "it's large"
    (folder / "more").mkdir(parents=True)
    model = onnx.load(stack(64, 1))
    saved = {"save_as_external_data": True, "location": "more/my weights.bin", "size_threshold": 0}
    onnx.save(model, folder / "model.onnx", **saved)
    (one,) = timed([folder / "model.onnx"], f"adb:{daemon.serial}")
    assert one.complete


# faults: one line each


def test_no_device_at_all(server: Server, stack: Stack) -> None:
    with pytest.raises(UserError, match="adb sees no device: plug one in") as caught:
        timed([stack(16, 1)], "adb")
    one_line(caught, "adb")


def test_two_devices_and_no_serial_are_both_named(server: Server, daemon: Daemon, tmp_path: Path, stack: Stack) -> None:
    with listening(Phone(tmp_path / "second")) as second:
        for serial in (daemon.serial, second.serial):
            server.adb("connect", serial)
        with pytest.raises(UserError, match="adb sees 2 devices: say which with --device") as caught:
            timed([stack(16, 1)], "adb")
        assert f"adb:{daemon.serial}" in str(caught.value)
        one_line(caught, f"adb:{second.serial}")


def test_the_serial_of_the_environment_says_which(
    server: Server, daemon: Daemon, tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(Phone(tmp_path / "second")) as second:
        for serial in (daemon.serial, second.serial):
            server.adb("connect", serial)
        monkeypatch.setenv("ANDROID_SERIAL", second.serial)
        (one,) = timed([stack(16, 1)], "adb")
    assert one.device == f"adb:{second.serial}"


def test_a_serial_that_is_not_there(server: Server, stack: Stack) -> None:
    with pytest.raises(UserError, match="adb:R58M is not found; connect it again") as caught:
        timed([stack(16, 1)], "adb:R58M")
    one_line(caught, "adb:R58M")


def test_a_refused_connection(server: Server, stack: Stack) -> None:
    with pytest.raises(UserError, match="Connection refused; switch on wireless debugging") as caught:
        timed([stack(16, 1)], "adb:127.0.0.1:1")
    one_line(caught, "adb:127.0.0.1:1")


def test_a_device_that_does_not_trust_this_computer(server: Server, phone: Phone, daemon: Daemon, stack: Stack) -> None:
    phone.authorised = False
    server.adb("connect", daemon.serial)
    with pytest.raises(UserError, match="is unauthorized; unlock it and allow USB debugging") as caught:
        timed([stack(16, 1)], f"adb:{daemon.serial}")
    one_line(caught, daemon.serial)


@pytest.mark.parametrize("abis", ["armeabi-v7a,armeabi", "x86_64,x86"])
def test_a_device_the_tree_is_not_for(phone: Phone, daemon: Daemon, stack: Stack, abis: str) -> None:
    phone.properties["ro.product.cpu.abilist"] = abis
    phone.make()
    with pytest.raises(UserError, match="the tree is for arm64-v8a: take a device with a 64-bit Arm") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(f"adb:{daemon.serial}"))
    one_line(caught, abis.split(",")[0])
    assert list(phone.storage.iterdir()) == []


def test_a_tree_that_was_never_prepared(
    phone: Phone, daemon: Daemon, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFEDEPLOY_ARM64", str(tmp_path / "none"))
    with pytest.raises(UserError, match="is not there: make it with 'safedeploy device prepare arm64'") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(f"adb:{daemon.serial}"))
    one_line(caught, "aarch64 tree")
    assert list(phone.storage.iterdir()) == []


def test_an_android_whose_shell_gives_no_exit_codes(phone: Phone, daemon: Daemon, stack: Stack) -> None:
    phone.features = "cmd"
    with pytest.raises(UserError, match="its Android is older than 7") as caught:
        timed([stack(16, 1)], f"adb:{daemon.serial}")
    one_line(caught, daemon.serial)


def test_a_full_device(phone: Phone, daemon: Daemon, stack: Stack) -> None:
    phone.room = 1_000_000
    with pytest.raises(UserError, match=r"is full: .*No space left on device; free some storage there") as caught:
        timed([stack(600, 1)], f"adb:{daemon.serial}")
    one_line(caught, daemon.serial)
    assert list(phone.storage.iterdir()) == []


def test_cores_the_device_has_not(daemon: Daemon, stack: Stack) -> None:
    with pytest.raises(UserError, match=r"--cores 77: adb:.* has the cores 0") as caught:
        timed([stack(16, 1)], f"adb:{daemon.serial}", cores="77")
    one_line(caught, daemon.serial)


def test_a_python_on_the_device_that_is_not_there(daemon: Daemon, stack: Stack) -> None:
    with pytest.raises(UserError, match="no/such") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(f"adb:{daemon.serial}", python="/no/such"))
    one_line(caught, daemon.serial)


def test_no_adb_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Stack) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no 'adb' here; install it") as caught:
        timed([stack(16, 1)], "adb")
    one_line(caught, "adb")


def test_the_command_line_exits_with_2(server: Server, stack: Stack, typed: Callable[..., Any]) -> None:
    answer = typed("bench", stack(16, 1), "--device", "adb")
    assert "adb sees no device" in answer.fault


def test_what_was_measured_of_a_device_that_vanishes_is_kept_and_marked(
    daemon: Daemon, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safedeploy.bench import protocol

    monkeypatch.setitem(protocol.PROTOCOLS, "quick", ENDLESS)
    bundle = tmp_path / "runs" / "r" / "bundle" / "android"
    bundle.mkdir(parents=True)
    for name in ("recipe.toml", "split.npz"):
        (bundle.parent.parent / name).touch()
    path = stack(16, 1).rename(bundle / "model.onnx")
    begun = threading.Event()
    threading.Thread(target=lambda: (begun.wait(60), time.sleep(0.3), daemon.vanish()), daemon=True).start()
    device = choose(f"adb:{daemon.serial}", python=sys.executable)
    with pytest.raises(UnfinishedError, match=r"kept, marked incomplete: what was measured of 1 of 1 files") as caught:
        pipeline.bench([path], device=device, progress=lambda stage: lambda done: begun.set() if done else None)
    assert re.search("connect it again|unplug it and plug it in", one_line(caught, daemon.serial))
    (written,) = (bundle.parent.parent / "bench" / "android").iterdir()
    assert written.name == f"model.onnx.adb-127.0.0.1-{daemon.port}.incomplete.json"
    timing = Timing.read(written)
    assert not timing.complete
    assert 0 < timing.latency_ms.queries < 10**9


def test_the_command_line_prints_what_was_kept_and_then_the_fault(
    daemon: Daemon, stack: Stack, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., Any]
) -> None:
    from safedeploy.bench import measure as module

    turns = iter(range(100))

    def rest(*arguments: Any) -> float:
        if next(turns) == 3:  # two files: each has had a turn, the second waits for its next
            daemon.vanish()
        return cooldown.rest(*arguments)

    monkeypatch.setattr(module, "rest", rest)
    options = ["--device", f"adb:{daemon.serial}", "--python", sys.executable, "--json"]
    answer = typed("bench", stack(16, 1), stack(16, 2), *options)
    assert answer.code == 2
    first, second = (Timing.model_validate(one) for one in json.loads(answer.out))
    assert not first.complete
    assert not second.complete
    assert second.ratio is not None
    assert second.ratio.blocks == 1
    assert answer.err.splitlines()[-1].endswith("kept, marked incomplete: what was measured of 2 of 2 files")


def test_a_device_that_falls_silent_is_not_waited_for_for_ever(
    phone: Phone, daemon: Daemon, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENCE", 0.3)
    monkeypatch.setattr(remote, "PATIENCE", 1.0)
    path, device = stack(16, 1), choose(f"adb:{daemon.serial}", python=sys.executable)
    with pytest.raises(UnfinishedError, match=r"gave no answer within 1 s; see that it is awake") as caught:
        measure([path], ENDLESS, threads=1, device=device, progress=lambda done: setattr(phone, "asleep", done > 0))
    one_line(caught, daemon.serial)


@pytest.mark.slow
def test_ctrl_c_leaves_no_file_on_the_device(phone: Phone, daemon: Daemon, stack: Stack) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from safedeploy.bench.devices.choose import choose
        from safedeploy.bench.measure import Rules, measure
        say = lambda done: print(done, flush=True)
        device = choose(sys.argv[2], python=sys.executable)
        measure([Path(sys.argv[1])], Rules(10**9, 600.0, 0.05), threads=1, device=device, progress=say)
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(stack(16, 1)), f"adb:{daemon.serial}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    assert list(phone.storage.glob("safedeploy-*"))
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)
    assert parent.returncode != 0
    assert list(phone.storage.iterdir()) == []


# the tree, pushed, and run by qemu where a phone's kernel would run it


@pytest.fixture(scope="session")
def tree() -> build.Tree:
    from safedeploy.bench.devices.qemu import prepare

    needed("qemu-aarch64-static", "qemu-user-static")
    return prepare().tree


@pytest.mark.arm64
@pytest.mark.timeout(600)
def test_the_tree_answers_on_the_device_as_this_machine_does_and_says_that_it_is_emulated(
    tree: build.Tree, phone: Phone, daemon: Daemon, stack: Stack, tmp_path: Path
) -> None:
    path, x = stack(64, 2), np.random.default_rng(1).standard_normal((9, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with choose(f"adb:{daemon.serial}", cores="0").opened() as device, opened(path, device) as talk:
        loaded = talk.load(threads=1, seed=0)
        inputs = device.push(tmp_path / "x.npy")
        outputs = inputs.replace(".npy", ".out.npy")
        assert talk.ask("answer", inputs=inputs, outputs=outputs)["samples"] == 9
        device.fetch(outputs, tmp_path / "y.npy")
    here = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), here, rtol=1e-4, atol=1e-5)
    assert loaded["machine"]["architecture"] == "aarch64"
    assert loaded["machine"]["emulator"].startswith("qemu-aarch64")
    assert loaded["cores"] == [0]
    assert list(phone.storage.iterdir()) == []


@pytest.mark.arm64
def test_a_device_without_room_for_the_tree_is_one_line(
    tree: build.Tree, phone: Phone, daemon: Daemon, stack: Stack
) -> None:
    phone.room = 20_000_000
    with pytest.raises(UserError, match="is full") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(f"adb:{daemon.serial}"))
    one_line(caught, daemon.serial)
    assert list(phone.storage.iterdir()) == []


@pytest.mark.arm64
@pytest.mark.timeout(900)
def test_a_pte_file_runs_in_the_trees_executorch_or_the_line_says_how_to_get_one(
    tree: build.Tree, phone: Phone, daemon: Daemon, tmp_path: Path
) -> None:
    import torch
    from executorch.exir import to_edge

    from safedeploy.bench.devices.tree import cpu

    torch.manual_seed(0)
    module = torch.nn.Linear(8, 3).eval()
    path, x = tmp_path / "linear.pte", torch.randn(2, 8)
    path.write_bytes(to_edge(torch.export.export(module, (torch.zeros(1, 8),))).to_executorch().buffer)
    cpu.write(cpu.DEFAULT, phone.folder)  # torch looks closer than onnxruntime
    np.save(tmp_path / "x.npy", x.numpy())
    with choose(f"adb:{daemon.serial}").opened() as device:
        if not tree.has("executorch"):
            with pytest.raises(UserError, match=r"prepare arm64 --executorch.*--executor-runner PATH"):
                device.start(path, (tmp_path / "log").open("wb"))
            return
        with opened(path, device) as talk:
            loaded = talk.load(threads=1, seed=0)
            inputs = device.push(tmp_path / "x.npy")
            outputs = inputs.replace(".npy", ".out.npy")
            talk.ask("answer", inputs=inputs, outputs=outputs)
            device.fetch(outputs, tmp_path / "y.npy")
    assert loaded["runtime"].startswith("executorch 1.")
    assert loaded["machine"]["emulator"].startswith("qemu-aarch64")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), module(x).detach().numpy(), rtol=1e-4, atol=1e-5)
