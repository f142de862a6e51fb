"""The emulated device short of emulating: its command line, its processor, its tree's lock, one line for what lacks."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from safedeploy.bench.devices.qemu import Emulation, QemuArm64, prepare
from safedeploy.bench.devices.tree import cpu, emulator
from safedeploy.bench.devices.tree.assemble import find_python, followed
from safedeploy.bench.devices.tree.build import open_tree, tree_folder
from safedeploy.errors import UserError
from safedeploy.results import TreeLock


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of two files and its lock, the digest worked out as the lock's documentation says."""
    folder = tmp_path / "arm64"
    files = {"bin/python3": b"python", "lib/libc.so.6": b"c"}
    for name, content in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    lines = "".join(f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(files.items()))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    TreeLock(python="3.11", packages=[], sysroot="", files=2, size_bytes=7, digest=digest).write(folder / "tree.json")
    monkeypatch.setenv("SAFEDEPLOY_ARM64", str(folder))
    return folder


def test_the_tree_is_the_environments_else_the_caches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tree().root == folder / "tree"
    monkeypatch.delenv("SAFEDEPLOY_ARM64")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert tree_folder() == Path("/somewhere/safedeploy/arm64")
    assert tree_folder(folder) == folder


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (lambda tree: (tree / "tree/lib/libc.so.6").write_bytes(b"d"), "is damaged"),
        (lambda tree: (tree / "tree/lib/libc.so.6").unlink(), "is damaged"),
        (lambda tree: (tree / "tree/lib/more").touch(), "is damaged"),
        (lambda tree: (tree / "tree.json").write_text("{"), "is damaged"),
        (lambda tree: (tree / "tree.json").unlink(), "is not there"),
        (lambda tree: shutil.rmtree(tree), "is not there"),
    ],
    ids=["changed", "missing", "added", "lock cut short", "half-built", "nothing"],
)
def test_a_tree_that_is_not_the_one_installed_is_one_line(folder: Path, harm: Any, state: str) -> None:
    harm(folder)
    with pytest.raises(UserError, match=f"{state}: make it with 'safedeploy device prepare arm64'") as caught:
        open_tree()
    assert "\n" not in str(caught.value)


def test_the_command_line_starts_the_trees_loader_under_qemu() -> None:
    device = Emulation("qemu-arm64", Path("/usr/bin/qemu-aarch64-static"), "cortex-a53", Path("/t"), Path("/served"))
    assert device.command("runner.py") == [
        "/usr/bin/qemu-aarch64-static",
        *("-cpu", "cortex-a53", "-L", "/served"),
        *("/t/lib/ld-linux-aarch64.so.1", "--library-path", "/t/lib", "/t/bin/python3", "-S", "runner.py"),
    ]


def test_what_is_meant_for_this_machines_python_does_not_reach_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_LIBRARY_PATH", "LD_PRELOAD", "QEMU_CPU"):
        monkeypatch.setenv(name, "/here")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = Emulation("qemu-arm64", Path("q"), "cortex-a53", Path("/t"), Path("/served")).environment()
    assert {name: value for name, value in found.items() if value == "/here"} == {}
    assert (found["PYTHONHOME"], found["PYTHONPATH"], found["OMP_NUM_THREADS"]) == ("/t", "/t/site", "1")


@pytest.mark.parametrize("name", cpu.CPUS)
def test_the_processor_served_is_the_one_emulated(tmp_path: Path, name: str) -> None:
    cpu.write(name, tmp_path)
    text = (tmp_path / "proc/cpuinfo").read_text()
    assert text.count("processor\t: ") == text.count(f"CPU part\t: {cpu.CPUS[name].part}\n") == cpu.CORES
    assert ("asimddp" in text) == (name == "cortex-a76")
    midr = int((tmp_path / "sys/devices/system/cpu/cpu0/regs/identification/midr_el1").read_text(), 16)
    assert (midr >> 24, f"{midr >> 4 & 0xFFF:#x}") == (0x41, cpu.CPUS[name].part)
    assert (tmp_path / "sys/devices/system/cpu/present").read_text() == f"0-{cpu.CORES - 1}\n"


def test_a_pte_without_executorch_in_the_tree_says_how_to_get_it(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(bytes(4) + b"ET12" + bytes(100))
    device = Emulation("qemu-arm64", Path("q"), "cortex-a53", folder / "tree", Path("/served"))
    with path.open("rb") as log, pytest.raises(UserError, match=r"device prepare arm64 --executorch'$"):
        device.start(path, log)


def test_an_unknown_core_is_one_line_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'cortex-a53'"), QemuArm64("cortex-a55").opened():
        pass


def test_without_an_emulator_one_line_says_how_to_get_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert emulator.find(folder) is None
    assert emulator.fetch(folder) is None, "no apt on this path"
    with pytest.raises(UserError, match="apt-get install qemu-user-static") as caught, QemuArm64().opened():
        pass
    assert "\n" not in str(caught.value)
    (folder / "tools").mkdir()
    (folder / "tools" / "qemu-aarch64-static").touch()
    assert emulator.require(folder) == folder / "tools" / "qemu-aarch64-static"


def test_without_apt_the_libraries_must_be_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError, match=r"no apt here .*: give an aarch64 system with --sysroot DIR$"):
        prepare(fresh=True)
    with pytest.raises(UserError, match=r"--sysroot .*nowhere: no such folder"):
        prepare(sysroot=folder / "nowhere")
    assert open_tree().lock.python == "3.11", "what was there stays"


def test_a_system_of_another_processor_or_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no Python of 3\.11, 3\.12"):
        find_python(tmp_path, (11, 12))
    (tmp_path / "usr/bin").mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), tmp_path / "usr/bin/python3.12")
    with pytest.raises(UserError, match="is no aarch64 program"):
        find_python(tmp_path, (11, 12))


def test_links_are_followed_as_if_the_system_were_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libx.so.1.0").touch()
    for link, target in {
        "a": "/usr/lib/b",
        "b": "libx.so.1.0",
        "up": "../lib/b",
        "loop": "loop",
        "no": "/etc/hostname",
    }.items():
        (tmp_path / "usr/lib" / link).symlink_to(target)
    real = tmp_path / "usr/lib/libx.so.1.0"
    assert [os.path.realpath(str(followed(tmp_path, f"usr/lib/{link}"))) for link in ("a", "b", "up")] == [
        str(real)
    ] * 3
    assert [followed(tmp_path, f"usr/lib/{link}") for link in ("loop", "no", "absent")] == [None] * 3


def test_the_command_line_names_its_kinds(typed: Any, folder: Path) -> None:
    assert typed("device", "prepare", "amd64").fault.startswith("unknown kind of device 'amd64'")
    assert typed("device", "prepar").fault.startswith("no such command 'prepar'")
    listed = json.loads(typed("device", "list", "--json").out)
    assert [one["device"].split("[")[0].split(":")[0] for one in listed] == ["local", "qemu-arm64", "ssh", "adb"]
    assert listed[0]["state"] == "ok"


def test_an_emulated_device_takes_no_cores(typed: Any, stranger: Any) -> None:
    fault = typed("bench", stranger.model, "--device", "qemu-arm64", "--cores", "0").fault
    assert "nothing is timed there" in fault


def test_bench_on_a_tree_that_is_not_there_is_one_line(typed: Any, stranger: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SAFEDEPLOY_ARM64", str(stranger.model.parent / "arm64"))
    assert "device prepare arm64" in typed("bench", stranger.model, "--device", "qemu-arm64").fault.replace("\n", "")
