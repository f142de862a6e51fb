"""The runner is one file a device can run with Python, numpy and a runtime; it speaks JSON lines."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safedeploy.bench.devices.local import RUNNER

ALLOWED = {"numpy", "onnxruntime", "executorch", "torch"}  # executorch's Python runtime takes torch's tensors


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import would need the package"
            found.add(str(node.module).split(".")[0])
    return found


def test_it_imports_the_standard_library_numpy_and_runtimes_only() -> None:
    tree = ast.parse(RUNNER.read_text())
    assert imports(tree) - set(sys.stdlib_module_names) <= ALLOWED
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert imports(top) <= set(sys.stdlib_module_names), "a runtime is imported only when its format is met"


def test_python_3_9_compiles_it() -> None:
    """A host's own Python may be that old; `X | None` in an annotation is only read there, never run."""
    tree = ast.parse(RUNNER.read_text(), feature_version=(3, 9))
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


def conversation(runner: Path, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    said = "".join(json.dumps(command) + "\n" for command in commands)
    command = [sys.executable, "-I", str(runner)]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_runs_alone_in_another_folder(stack: Callable[[int, int], Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "runner.py"
    alone.parent.mkdir()
    shutil.copy(RUNNER, alone)
    loaded, block, memory = conversation(
        alone,
        {"command": "load", "model": str(stack(16, 1)), "threads": 2, "seed": 0},
        {"command": "block", "seconds": 0.05},
        {"command": "memory"},
    )
    assert (loaded["format"], loaded["threads"], loaded["batch"]) == ("onnx", 2, 1)
    assert len(block["latencies_ns"]) > 1
    assert all(isinstance(latency, int) and latency > 0 for latency in block["latencies_ns"])
    assert memory["peak_memory_bytes"] >= loaded["baseline_memory_bytes"] > 1e6


def test_a_command_that_fails_answers_with_one_line_and_the_runner_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x0a\x12\x07pytorch")
    failed, early, memory = conversation(
        RUNNER,
        {"command": "load", "model": str(path), "threads": 1, "seed": 0},
        {"command": "block", "seconds": 0.05},
        {"command": "memory"},
    )
    assert failed["error"]
    assert early["error"] == "no model is loaded"
    assert memory["peak_memory_bytes"] > 0


@pytest.mark.parametrize(("batch", "delegated"), [(1, True), (4, False)])
def test_a_pte_is_timed_with_the_threads_asked_for_and_answers_the_rest_of_a_batch(
    tmp_path: Path, batch: int, delegated: bool
) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    module = torch.nn.Linear(6, 3).eval()
    exported = torch.export.export(module, (torch.zeros(batch, 6),))
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()] if delegated else [])
    path, x_path, y_path = (tmp_path / name for name in ("linear.pte", "x.npy", "y.npy"))
    path.write_bytes(lowered.to_executorch().buffer)
    x = np.random.default_rng(0).standard_normal((7, 6)).astype(np.float32)
    np.save(x_path, x)
    loaded, block, told = conversation(
        RUNNER,
        {"command": "load", "model": str(path), "threads": 3, "seed": 0},
        {"command": "block", "seconds": 0.05},
        {"command": "answer", "inputs": str(x_path), "outputs": str(y_path), "output": None},
    )
    assert (loaded["format"], loaded["threads"], loaded["batch"]) == ("executorch", 3, batch)
    assert len(block["latencies_ns"]) > 1
    assert told == {"samples": 7}
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(np.load(y_path), wanted, rtol=1e-5, atol=1e-6)


def answered(path: Path, x: Any, folder: Path, output: str | None = None) -> Any:
    np.save(folder / "x.npy", x)
    asked = {"command": "answer", "inputs": str(folder / "x.npy"), "outputs": str(folder / "y.npy"), "output": output}
    load = {"command": "load", "model": str(path), "threads": 1, "seed": 0}
    assert conversation(RUNNER, load, asked)[1] == {"samples": len(x)}
    return np.load(folder / "y.npy")


def test_an_onnx_file_answers_the_inputs_it_is_given(stack: Callable[[int, int], Path], tmp_path: Path) -> None:
    import onnxruntime

    path = stack(16, 2)
    x = np.random.default_rng(1).standard_normal((130, 16)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(answered(path, x, tmp_path, "y"), wanted, rtol=1e-5, atol=1e-6)


def test_inputs_that_do_not_fit_are_an_error_and_no_answer(stack: Callable[[int, int], Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 5), np.float32))
    asked = {"command": "answer", "inputs": str(tmp_path / "x.npy"), "outputs": str(tmp_path / "y.npy"), "output": None}
    load = {"command": "load", "model": str(stack(16, 1)), "threads": 1, "seed": 0}
    _, refused = conversation(RUNNER, load, asked)
    assert "5" in refused["error"]
    assert not (tmp_path / "y.npy").exists()


def test_a_runner_keeps_to_the_cores_it_is_given(stack: Callable[[int, int], Path]) -> None:
    core = min(os.sched_getaffinity(0))
    load = {"command": "load", "model": str(stack(16, 1)), "threads": 1, "seed": 0}
    loaded, free, absent = conversation(RUNNER, {**load, "cores": [core]}, load, {**load, "cores": [10_000]})
    assert (loaded["cores"], loaded["machine"]["cores"]) == ([core], "1")
    assert free["cores"] == [core], "a pinned process stays pinned"
    assert absent["error"] == f"there is no core 10000 to run on (there are {core})"
