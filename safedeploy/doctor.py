"""What works on this machine: packages by extra, runtimes that really run something, devices, disk, data sets."""

import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from safedeploy.data.load import list_datasets
from safedeploy.data.root import cache_folder, data_root
from safedeploy.errors import missing_extra
from safedeploy.results import Result

State = Literal["ok", "missing", "broken"]

# the dependencies of pyproject.toml: package, and the module it brings
PACKAGES: dict[str, dict[str, str]] = {
    "": {
        "jinja2": "jinja2",
        "matplotlib": "matplotlib",
        "numpy": "numpy",
        "onnx": "onnx",
        "onnxruntime": "onnxruntime",
        "pydantic": "pydantic",
        "rich": "rich",
        "safetensors": "safetensors",
        "scikit-learn": "sklearn",
        "scipy": "scipy",
        "threadpoolctl": "threadpoolctl",
        "tomli-w": "tomli_w",
        "typer": "typer",
    },
    "train": {
        "accelerate": "accelerate",
        "onnxscript": "onnxscript",
        "opacus": "opacus",
        "pandas": "pandas",
        "pyarrow": "pyarrow",
        "torch": "torch",
        "torch-pruning": "torch_pruning",
        "torchvision": "torchvision",
    },
    "executorch": {"executorch": "executorch", "torch": "torch"},
    "text": {"transformers": "transformers"},
}
ENOUGH_DISK = 2**30  # a run on CIFAR-10 with its checkpoints and bundles stays below


class Finding(Result):
    """`missing`: not here, and `detail` says what would bring it. `broken`: here, and it does not work."""

    what: str
    state: State
    detail: str


def examine(root: str | None = None) -> list[Finding]:
    """Look at everything safedeploy rests on; `root` as in --data-root. Importing ExecuTorch takes some 4 s."""
    return [
        _python(),
        *(_packages(extra) for extra in PACKAGES),
        _tried("ONNX Runtime", "", _onnxruntime),
        _tried("torch devices", "train", _torch),
        _tried("torchvision", "train", _torchvision),
        _tried("ExecuTorch", "executorch", _executorch),
        _disk("disk, working folder", Path.cwd()),
        _disk("disk, cache", cache_folder()),
        *(_data(root)),
    ]


def _python() -> Finding:
    detail = f"{platform.python_version()}, {platform.platform()}, {sys.executable}"
    return Finding(what="Python", state="ok", detail=detail)


def _packages(extra: str) -> Finding:
    found, absent = [], []
    for package, module in PACKAGES[extra].items():
        if find_spec(module) is None:
            absent.append(package)
        else:
            found.append(f"{package} {_version(package)}")
    what = f"packages of the extra '{extra}'" if extra else "packages"
    if not absent:
        return Finding(what=what, state="ok", detail=", ".join(found))
    if extra:
        return Finding(what=what, state="missing", detail=str(missing_extra(", ".join(absent), extra)))
    return Finding(what=what, state="broken", detail=f"without {', '.join(absent)}: python -m pip install safedeploy")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _tried(what: str, extra: str, probe: Callable[[], str]) -> Finding:
    """`probe` uses the package that `what` names and says what it saw; what it raises is why the package is broken."""
    from safedeploy.export.quiet import quiet

    module = {"torch devices": "torch"}.get(what, what.lower().replace(" ", ""))
    if find_spec(module) is None:
        return Finding(what=what, state="missing", detail=str(missing_extra(what, extra)))
    try:
        with quiet():
            return Finding(what=what, state="ok", detail=probe())
    except Exception as error:  # native packages fail with exceptions of every kind
        reason = " ".join(str(error).split())[:300]
        return Finding(what=what, state="broken", detail=f"{type(error).__name__}: {reason}; install {module} again")


def _onnxruntime() -> str:
    """y = 2 x + 1, made here and run."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    shape = ("n", 2)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["doubled"]), helper.make_node("Add", ["doubled", "one"], ["y"])],
        "doctor",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("two", 2), ("one", 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer = session.run(None, {"x": np.array([[3, -4]], np.float32)})[0]
    if not np.array_equal(answer, [[7, -7]]):
        raise RuntimeError(f"2 x + 1 of 3 and -4 came out as {answer.tolist()}")
    return f"{onnxruntime.__version__} runs a model; providers {', '.join(onnxruntime.get_available_providers())}"


def _torch() -> str:
    import torch

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return f"{torch.__version__} on {', '.join(devices)}"


def _torchvision() -> str:
    from safedeploy.vision import torchvision

    return f"{torchvision().__version__} loads"


def _executorch() -> str:
    from executorch.runtime import Runtime

    registry = Runtime.get().backend_registry
    backends = [name for name in registry.registered_backend_names if registry.is_available(name)]
    if "XnnpackBackend" not in backends:
        raise RuntimeError(f"no XNNPACK among its backends ({', '.join(backends) or 'none'})")
    return f"{_version('executorch')} loads; backends {', '.join(sorted(backends))}"


def _disk(what: str, folder: Path) -> Finding:
    """Free space where `folder` is or would be made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    state: State = "ok" if free >= ENOUGH_DISK else "broken"
    return Finding(what=what, state=state, detail=f"{free / 2**30:.1f} GiB free in {folder}")


def _data(root: str | None) -> list[Finding]:
    return [
        Finding(what=f"data set {listed.name}", state="ok" if listed.found else "missing", detail=listed.where)
        for listed in list_datasets(data_root(root))
    ]
