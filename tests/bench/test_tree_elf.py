"""ELF headers as this machine's own tools read them, and libraries made here as its own loader takes them."""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from safedeploy.bench.devices.tree import elf, no_gpu

LIBRARIES = [
    next(Path(np.__file__).parent.glob("_core/_multiarray_umath*.so"), Path()),
    next((Path(onnxruntime.__file__).parent / "capi").glob("onnxruntime_pybind11_state*.so"), Path()),
]
x86 = pytest.mark.skipif(elf.machine(Path(sys.executable).resolve()) != elf.X86_64, reason="no x86-64 ELF machine")


def readelf(*arguments: str | Path) -> list[str]:
    if shutil.which("readelf") is None:
        pytest.skip("no readelf here")
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


@x86
@pytest.mark.parametrize("path", LIBRARIES, ids=["numpy", "onnxruntime"])
def test_needed_libraries_are_readelfs(path: Path) -> None:
    lines = [line for line in readelf("-d", path) if "(NEEDED)" in line]
    assert elf.needed(path) == [line.split("[")[1].rstrip("]") for line in lines]


@x86
@pytest.mark.parametrize("path", LIBRARIES, ids=["numpy", "onnxruntime"])
def test_symbols_are_readelfs(path: Path) -> None:
    rows = [line.split() for line in readelf("--dyn-syms", path)]
    rows = [row for row in rows if len(row) >= 8 and row[0].rstrip(":").isdigit()]
    found = elf.symbols(path)
    assert found.defined == {row[7].split("@")[0] for row in rows if row[6] != "UND"}
    assert found.wanted == {row[7].split("@")[0] for row in rows if row[6] == "UND" and row[4] == "GLOBAL"}


def test_other_files_are_for_no_machine(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    assert [elf.machine(tmp_path / name) for name in ("script", "empty")] == [0, 0]
    assert not elf.is_elf(tmp_path / "script")


MADE = no_gpu.library([f"cudaFunction{i}" for i in range(50)])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(64, len(MADE) - 1), at=st.integers(64, 400), byte=st.integers(0, 255))
@example(cut=272, at=191, byte=128)  # an offset beyond what an address can be
def test_a_damaged_file_is_said_to_be_and_nothing_else_happens(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    content = bytearray(MADE[:cut])
    if at < cut:
        content[at] = byte
    path = tmp_path / "cut.so"
    path.write_bytes(content)
    for read in (elf.needed, elf.symbols):
        fault = fault_of(read, path)
        assert fault is None or "damaged ELF file" in fault


def fault_of(read: Callable[[Path], object], path: Path) -> str | None:
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


def test_a_library_in_place_of_another_reads_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "libcudart.so.13"
    path.write_bytes(MADE)
    assert elf.machine(path) == elf.AARCH64
    assert elf.needed(path) == []
    names = {line.split()[-1] for line in readelf("--use-dynamic", "--symbols", path) if "cudaFunction" in line}
    assert names == {f"cudaFunction{i}" for i in range(50)}


@x86
def test_the_loader_takes_it_and_every_function_answers_no_device(tmp_path: Path) -> None:
    """The same file for x86-64: only the machine's number and the two instructions differ."""
    answer = b"\xb8\x64\x00\x00\x00\xc3\x90\x90"  # mov eax, 100; ret
    native = bytearray(MADE.replace(no_gpu.NO_DEVICE, answer))
    native[18] = elf.X86_64
    path = tmp_path / "libnative.so"
    path.write_bytes(native)
    loaded = ctypes.CDLL(str(path))
    assert [getattr(loaded, f"cudaFunction{i}")() for i in (0, 17, 49)] == [100, 100, 100]
    assert not hasattr(loaded, "cudaFunction50")


def test_only_nvidias_libraries_are_left_out() -> None:
    assert all(map(no_gpu.is_absent, ["libcudart.so.13", "libcublasLt.so.13", "libnccl.so.2", "libnvrtc.so.13"]))
    assert not any(map(no_gpu.is_absent, ["libcurl.so.4", "libc.so.6", "libcups.so.2", "libnsl.so.2", "libnvpl_x.so"]))
