"""The aarch64 tree from real packages, under the real emulator: built, damaged, moved, answering as this machine."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safedeploy.bench.agreement import Allowed, agreement, answers
from safedeploy.bench.devices.local import Local
from safedeploy.bench.devices.qemu import QemuArm64, prepare, try_out
from safedeploy.bench.devices.tree import cpu, debian, emulator
from safedeploy.bench.devices.tree.build import PACKAGES, Tree, open_tree, tree_folder
from safedeploy.errors import UserError
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation
from safedeploy.results import Agreement
from safedeploy.rundir import sha256

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(900)]
Stack = Callable[[int, int], Path]
FLOAT = Allowed("android", "float32", 1e-4, 0.95)
INT8 = Allowed("android", "int8", 1e-4, 0.95)


@pytest.fixture(scope="module")
def tree() -> Tree:
    """The user's own tree, made where it is not there yet."""
    if not debian.has_apt() and emulator.find(tree_folder()) is None:
        pytest.skip("neither apt nor an emulator of aarch64 here")
    return prepare().tree


@pytest.fixture(scope="module")
def spare(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tree out of the same downloads, to be harmed."""
    folder = tmp_path_factory.mktemp("spare") / "arm64"
    folder.mkdir()
    (folder / "downloads").symlink_to(tree.folder / "downloads")
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "apt.conf"
    config.write_text('Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_a_second_preparation_is_instant(tree: Tree) -> None:
    start = time.monotonic()
    again = prepare()
    assert again.tree == tree
    assert time.monotonic() - start < 20


def test_every_package_is_the_one_in_the_lock(tree: Tree) -> None:
    names = {package.name for package in tree.lock.packages}
    assert {*PACKAGES, "libc6", "numpy", "onnxruntime"} <= names
    for package in tree.lock.packages:
        place = tree.folder / "downloads" / ("wheels" if package.file.endswith(".whl") else "debian") / package.file
        assert (sha256(place), place.stat().st_size) == (package.sha256, package.size_bytes), package.name


def test_the_tree_is_files_alone(tree: Tree) -> None:
    """A phone's file system need not know links."""
    assert [path for path in tree.root.rglob("*") if path.is_symlink()] == []


@pytest.mark.usefixtures("offline")
def test_it_is_built_from_what_was_fetched_and_again_when_damaged(tree: Tree, spare: Path) -> None:
    first = prepare(spare).tree
    assert first.lock.model_copy(update={"packages": []}).python == tree.lock.python
    (first.root / "lib" / "libc.so.6").write_bytes(b"\x7fELF")
    again = prepare(spare).tree
    assert again.lock == first.lock
    assert (again.root / "lib" / "libc.so.6").stat().st_size > 1e6


@pytest.mark.usefixtures("offline")
def test_it_runs_wherever_it_is_moved(spare: Path, tmp_path: Path) -> None:
    root = prepare(spare).tree.root
    moved = tmp_path / "a folder" / "elsewhere"
    shutil.copytree(root, moved)
    try_out(emulator.require(tree_folder()), moved, ["numpy", "onnxruntime", "ssl", "ctypes", "sqlite3"])


@pytest.mark.usefixtures("offline")
def test_it_is_built_from_a_given_system_as_well(tree: Tree, spare: Path, tmp_path: Path) -> None:
    debs = [package for package in tree.lock.packages if package.file.endswith(".deb")]
    if not debs:
        pytest.skip("the tree here was itself built from a given system")
    sysroot = debian.unpack(debs, tree.folder / "downloads" / "debian", tmp_path / "sysroot")
    built = prepare(spare, sysroot=sysroot).tree
    assert built.lock.sysroot == str(sysroot)
    assert {package.name for package in built.lock.packages} == {"numpy", "onnxruntime"}
    (sysroot / "lib/aarch64-linux-gnu/libm.so.6").unlink()
    shutil.rmtree(built.root)
    with pytest.raises(UserError, match=r"needs libm\.so\.6, which is not there in .*/sysroot"):
        prepare(spare, sysroot=sysroot)


@pytest.mark.parametrize("core", cpu.CPUS)
def test_a_product_of_whole_numbers_is_exact_on_every_core(tree: Tree, stack: Stack, core: str) -> None:
    """Sums of small integers are exact in float32 in any order, so both machines must give these very bits."""
    import onnx
    from onnx import numpy_helper

    path = stack(16, 2)
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    for weight in model.graph.initializer:
        whole = rng.integers(-3, 4, tuple(weight.dims)).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(whole, weight.name))
    onnx.save(model, path)
    x = rng.integers(-3, 4, (40, 16)).astype(np.float32)
    wanted = x
    for weight in model.graph.initializer:
        wanted = wanted @ numpy_helper.to_array(weight)
    there, known = answers(path, x, QemuArm64(core))
    np.testing.assert_array_equal(there, wanted)
    assert known["machine"]["architecture"] == "aarch64"
    assert known["machine"]["cpu"] == cpu.CPUS[core].part


def test_a_float32_and_an_int8_file_agree_within_the_targets_tolerance(tree: Tree, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).eval()
    path, int8 = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    x = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    export_onnx(module, (64,), path, opset=20, model_name="two layers")
    quantise_onnx(path, int8, x, Quantisation())
    for file, allowed in ((path, FLOAT), (int8, INT8)):
        found = agreement(file, x, QemuArm64(), allowed, inputs="random")
        assert found.within, found
        assert found.machine["architecture"] == "aarch64"


def test_inputs_that_do_not_fit_are_one_line_there_too(tree: Tree, stack: Stack) -> None:
    with pytest.raises(UserError, match=r"running .*stack_16_1\.onnx on qemu-arm64:cortex-a76: .*5") as caught:
        answers(stack(16, 1), np.zeros((1, 5), np.float32), QemuArm64())
    assert "\n" not in str(caught.value)


def test_the_command_prints_agreement_and_no_latency(tree: Tree, typed: Any, stack: Stack) -> None:
    answer = typed("bench", stack(16, 2), "--device", "qemu-arm64", "--samples", "5")
    assert answer.code == 0
    assert "emulated: agreement only, no latency" in answer.out
    assert " ms" not in answer.out
    (found,) = json.loads(typed("bench", stack(16, 2), "--device", "qemu-arm64", "--samples", "5", "--json").out)
    assert Agreement.model_validate(found).top1_agreement == 1
    assert not any("latency" in key or key.endswith("_ms") for key in found)


def test_a_pte_file_agrees_too(tree: Tree, tmp_path: Path) -> None:
    """With ExecuTorch in a tree of its own: the user's stays as small as it was."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    folder = tmp_path / "arm64"
    folder.mkdir()
    (folder / "downloads").symlink_to(tree.folder / "downloads")
    built = prepare(folder, executorch=True).tree
    assert built.has("executorch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
    exported = torch.export.export(module.eval(), (torch.zeros(1, 1, 8, 8),))
    path = tmp_path / "conv.pte"
    path.write_bytes(to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)
    x = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    found = agreement(path, x, QemuArm64(folder=folder), FLOAT, inputs="random")
    assert found.within
    assert found.runtime.startswith("executorch ")
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answers(path, x, Local())[0], wanted, atol=1e-5)


def test_the_users_tree_stayed_whole(tree: Tree) -> None:
    assert open_tree() == tree


def test_the_emulator_is_unpacked_where_none_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of all that is here but QEMU, so that Debian's package is fetched and nothing of the system is touched."""
    if not debian.has_apt():
        pytest.skip("no apt here")
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/sbin", "/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if not program.name.startswith("qemu") and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    assert emulator.find(tmp_path) is None
    found = emulator.fetch(tmp_path)
    assert found == tmp_path / "tools" / "qemu-aarch64-static"
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("qemu-aarch64 version")
