"""Files timed over ssh: a real OpenSSH server on loopback, the real client, this machine's own Python as the host's."""

import os
import shutil
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
from hypothesis import given
from hypothesis import strategies as st
from programs import needed
from ssh_server import Server, serving

from safedeploy import pipeline
from safedeploy.bench.devices.choose import choose
from safedeploy.bench.devices.ssh import FOLDERS, parse
from safedeploy.bench.measure import Rules, UnfinishedError, measure
from safedeploy.bench.session import opened
from safedeploy.errors import UserError
from safedeploy.results import Timing

Stack = Callable[[int, int], Path]
SHORT = Rules(queries=20, seconds=0.05, block_seconds=0.02)
ENDLESS = Rules(queries=10**9, seconds=600, block_seconds=0.02)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needed("ssh", "openssh-client")
    needed("sshd", "openssh-server")
    with serving(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def server(machine: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("PATH", f"{machine.client}:{os.environ['PATH']}")
    machine.use_key("user")
    return machine


@pytest.fixture
def own_server(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One to stop."""
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder) as another:
        monkeypatch.setenv("PATH", f"{another.client}:{os.environ['PATH']}")
        yield another


def left_behind() -> set[Path]:
    return set(Path(FOLDERS).glob("safedeploy-*"))


def one_line(caught: "pytest.ExceptionInfo[UserError]", device: str) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert device in text
    return text


def test_files_are_timed_there_on_the_cores_asked_for_and_nothing_stays(server: Server, stack: Stack) -> None:
    before, core = left_behind(), max(os.sched_getaffinity(0))
    device = choose(server.device, python=sys.executable, cores=str(core))
    first, second = measure([stack(16, 1), stack(64, 2)], SHORT, threads=1, device=device)
    for one in (first, second):
        assert one.device == server.device
        assert one.loaded["cores"] == [core]
        assert one.loaded["runtime"] == f"onnxruntime {onnxruntime.__version__}"
        assert one.complete
        assert one.peak_memory_bytes > one.loaded["baseline_memory_bytes"] > 1e6
        assert one.latencies.size >= SHORT.queries
    assert left_behind() == before


def test_answers_come_back_as_this_machine_would_give_them(server: Server, stack: Stack, tmp_path: Path) -> None:
    path, x = stack(16, 2), np.random.default_rng(1).standard_normal((70, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with choose(server.device, python=sys.executable).opened() as device, opened(path, device) as session:
        session.load(threads=1, seed=0)
        inputs = device.push(tmp_path / "x.npy")
        outputs = inputs.replace(".npy", ".out.npy")
        assert session.ask("answer", inputs=inputs, outputs=outputs)["samples"] == 70
        device.fetch(outputs, tmp_path / "y.npy")
    here = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), here, rtol=1e-5, atol=1e-6)


def test_a_name_with_spaces_and_quotes_is_pushed_whole(server: Server, tmp_path: Path) -> None:
    odd = tmp_path / "it's a $(file) & more.bin"
    odd.write_bytes(bytes(range(256)) * 1000)
    with choose(server.device, python=sys.executable).opened() as device:
        device.fetch(device.push(odd), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == odd.read_bytes()


@pytest.mark.slow
def test_weights_beside_a_file_travel_with_it(server: Server, stack: Stack, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "it's large"
    (folder / "more").mkdir(parents=True)
    model = onnx.load(stack(64, 1))
    saved = {"save_as_external_data": True, "location": "more/my weights.bin", "size_threshold": 0}
    onnx.save(model, folder / "model.onnx", **saved)
    (one,) = measure([folder / "model.onnx"], SHORT, threads=1, device=choose(server.device, python=sys.executable))
    assert one.complete


def test_a_key_the_host_does_not_know_is_one_line(server: Server, stack: Stack) -> None:
    server.use_key("stranger")
    with pytest.raises(UserError, match=r"Permission denied.*ssh-copy-id") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(server.device))
    one_line(caught, server.device)


def test_a_host_the_user_never_met_is_one_line(server: Server, stack: Stack) -> None:
    known = server.folder / "known"
    text = known.read_text()
    known.write_text("")
    with pytest.raises(UserError, match="Host key verification failed; connect once") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(server.device))
    known.write_text(text)
    one_line(caught, server.device)


def test_nobody_listening_is_one_line(server: Server, stack: Stack) -> None:
    with pytest.raises(UserError, match="Connection refused; is an SSH server running") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose("ssh:127.0.0.1:1"))
    one_line(caught, "ssh:127.0.0.1:1")


def test_a_python_that_is_not_there_is_one_line(server: Server, stack: Stack) -> None:
    before = left_behind()
    with pytest.raises(UserError, match="--python /no/such: no such program there") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(server.device, python="/no/such"))
    one_line(caught, server.device)
    assert left_behind() == before


def test_a_python_without_numpy_is_one_line_that_says_so(server: Server, stack: Stack, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(UserError, match=r"no numpy for .*; install it, or name another") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose(server.device, python=str(bare)))
    one_line(caught, server.device)


def test_no_ssh_on_the_path_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Stack) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no 'ssh' here; install it") as caught:
        measure([stack(16, 1)], SHORT, threads=1, device=choose("ssh:pi"))
    one_line(caught, "ssh:pi")


def test_what_was_measured_of_a_machine_that_vanishes_is_kept_and_marked(
    own_server: Server, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safedeploy.bench import protocol

    monkeypatch.setitem(protocol.PROTOCOLS, "quick", ENDLESS)
    bundle = tmp_path / "runs" / "r" / "bundle" / "android"
    bundle.mkdir(parents=True)
    for name in ("recipe.toml", "split.npz"):
        (bundle.parent.parent / name).touch()
    paths = [stack(16, 1).rename(bundle / "model.onnx"), stack(16, 2).rename(bundle / "model.int8.onnx")]
    begun, before = threading.Event(), left_behind()
    threading.Thread(target=lambda: (begun.wait(60), time.sleep(0.3), own_server.stop()), daemon=True).start()
    device = choose(own_server.device, python=sys.executable)
    # ssh's own words, by the moment: before the handshake, or in it
    gone = r"Connection (refused|reset by peer|closed by)"
    with pytest.raises(UnfinishedError, match=rf"{gone}.*kept, marked incomplete: .* 2 of 2 files") as caught:
        pipeline.bench(paths, device=device, progress=lambda stage: lambda done: begun.set() if done else None)
    one_line(caught, own_server.device)
    for folder in left_behind() - before:  # nobody could clean up on a machine that is gone
        shutil.rmtree(folder)
    written = sorted((bundle.parent.parent / "bench" / "android").iterdir())
    host = own_server.device.replace(":", "-").replace("@", "-")
    assert [path.name for path in written] == [
        f"{name}.{host}.incomplete.json" for name in sorted(p.name for p in paths)
    ]
    for path in written:
        timing = Timing.read(path)
        assert not timing.complete
        assert 0 < timing.latency_ms.queries < 10**9
        assert timing.peak_memory_bytes > 1e6


@pytest.mark.slow
def test_ctrl_c_leaves_no_file_and_no_process_on_the_machine(server: Server, stack: Stack) -> None:
    before = left_behind()
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
        [sys.executable, "-c", program, str(stack(16, 1)), server.device],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    (folder,) = left_behind() - before
    assert running(folder)
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)
    assert parent.returncode != 0
    assert left_behind() == before
    end = time.monotonic() + 10
    while running(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(folder)


def running(folder: Path) -> list[str]:
    """Commands on this machine that name the folder, the clients that started them left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = place.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in command) and "ssh" not in Path(command[0]).name:
            found.append(" ".join(command))
    return found


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path: Path, stack: Stack) -> None:
    """In a mount namespace of its own, a server whose /var/tmp holds one megabyte."""
    needed("ssh", "openssh-client")
    sshd = needed("sshd", "openssh-server")
    small = tmp_path / "sshd"
    mount = f"mount -t tmpfs -o size=1m tmpfs {FOLDERS}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    small.write_text(f'#!/bin/sh\nexec unshare -m sh -c "{mount} && exec {sshd} $*"\n')
    small.chmod(0o755)
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder, sshd=str(small)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{server.client}:{os.environ['PATH']}")
        with pytest.raises(UserError, match=r"is full: .*No space left on device; free some storage there") as caught:
            measure([stack(600, 1)], SHORT, threads=1, device=choose(server.device, python=sys.executable))
    one_line(caught, server.device)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pi", "pi", None),
        ("me@pi.local", "me@pi.local", None),
        ("me@192.168.0.7:2222", "me@192.168.0.7", 2222),
        ("me@[fe80::1%eth0]:22", "me@fe80::1%eth0", 22),
        ("[::1]", "::1", None),
    ],
)
def test_hosts_are_written_as_in_other_addresses(text: str, host: str, port: int | None) -> None:
    assert parse(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["-oProxyCommand=x", "a b", "me@", "@pi", "pi:", "pi:99999", "pi:0", "::1", "a@b@c", ""]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write ssh:USER@HOST"):
        parse(text)


@given(st.text())
def test_any_text_is_a_host_or_one_line(text: str) -> None:
    try:
        host, port = parse(text)
    except UserError:
        return
    assert host
    assert not host.startswith("-")
    assert not any(character.isspace() for character in host)
    assert port is None or 0 < port < 65536


def test_a_device_without_a_host_is_refused_with_exit_code_2(typed: Callable[..., Any]) -> None:
    assert "unknown device 'ssh:'" in typed("bench", "model.onnx", "--device", "ssh:").fault


ENV = """#!/bin/sh
while case "$1" in *=*) ;; *) false ;; esac; do export "$1"; shift; done
case "$1" in */ld-linux-aarch64.so.1) exec {qemu} -L {served} "$@" ;; esac
exec "$@"
"""


@pytest.mark.arm64
@pytest.mark.timeout(600)
def test_an_arm_machine_without_python_gets_the_tree(
    server: Server, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine, where `uname` says aarch64, there is no Python, and `env` starts aarch64 programs in qemu."""
    from safedeploy.bench.devices.qemu import prepare
    from safedeploy.bench.devices.tree import cpu

    qemu = needed("qemu-aarch64-static", "qemu-user-static")
    prepare()
    cpu.write(cpu.DEFAULT, tmp_path / "served")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "mkdir", "cat", "rm", "tar", "gzip"):
        (programs / name).symlink_to(needed(name, name))
    for name, text in (
        ("uname", "#!/bin/sh\necho Linux aarch64\n"),
        ("env", ENV.format(qemu=qemu, served=tmp_path / "served")),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    folder = tmp_path / "arm"
    folder.mkdir()
    with serving(folder, options=f"SetEnv PATH={programs} BASH_ENV= ENV=\nPermitUserRC no\n") as machine:
        monkeypatch.setenv("PATH", f"{machine.client}:{os.environ['PATH']}")
        (one,) = measure([stack(16, 1)], SHORT, threads=1, device=choose(machine.device))
    assert one.loaded["machine"]["architecture"] == "aarch64"
    assert one.loaded["machine"]["emulator"].startswith("qemu-aarch64")
