"""What a user types and gets, and one small real run, for the tests of the command line and the pipeline."""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import safedeploy

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a test process a core: threads of their own would fight for it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
SOURCE = Path(safedeploy.__file__).parent.parent
PAIR = 'name = "pair"\ndescription = "a file a runtime"\nfiles = ["model.onnx", "model.pte"]\n'


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def fault(self) -> str:
        """The one line that bad input gets, after checking that it is one, with exit code 2 and no traceback."""
        assert self.code == 2, (self.code, self.err)
        assert self.out == ""
        assert self.err.startswith("safedeploy: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        return self.err.removeprefix("safedeploy: ").rstrip("\n")


Typed = Callable[..., Answer]


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str]) -> Typed:
    """Runs the command line as its entry point does, in this process."""

    def run(*arguments: object) -> Answer:
        from safedeploy.cli.main import main

        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, a cache of its own, no data root from outside; other processes find this code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SAFEDEPLOY_DATA", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def save_linear(path: Path, classes: int = 3, columns: int = 6) -> Path:
    """A stranger's classifier: one linear layer, weights drawn with seed 0."""
    weight = np.random.default_rng(0).standard_normal((columns, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def save_samples(path: Path, seed: int, n: int = 120, columns: int = 6, classes: int = 3) -> Path:
    x = np.random.default_rng(seed).standard_normal((n, columns)).astype(np.float32)
    np.savez(path, x=x, y=np.arange(n) % classes)
    return path


@dataclass(frozen=True)
class Stranger:
    """A model file that safedeploy did not make, with members and non-members for it."""

    model: Path
    members: Path
    nonmembers: Path
    save_model: Callable[..., Path] = save_linear
    save_samples: Callable[..., Path] = save_samples


@pytest.fixture
def stranger(home: Path) -> Stranger:
    model, members, nonmembers = (home / name for name in ("model.onnx", "m.npz", "n.npz"))
    return Stranger(save_linear(model), save_samples(members, 1), save_samples(nonmembers, 2))


@pytest.fixture
def leaking(stranger: Stranger) -> Stranger:
    """The stranger's model is always right on members and by chance on others: it gives all of them away."""
    weight = numpy_helper.to_array(onnx.load(stranger.model).graph.initializer[0])
    x = np.load(stranger.members)["x"]
    np.savez(stranger.members, x=x, y=(x @ weight).argmax(1))
    return stranger


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder that `make(folder)` filled, in whichever test process wanted it first."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a process that failed has left
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def trained_run(once: Once) -> Path:
    """A run that `compress` made out of digits in a few seconds. Tests copy it before they change it."""
    from safedeploy import compress
    from safedeploy.recipe import Recipe

    def make(folder: Path) -> None:
        target = folder / "pair.toml"
        target.write_text(PAIR)
        recipe = Recipe.model_validate(
            {
                "name": "tiny",
                "seed": 3,
                "target": str(target),
                "model": {"name": "mlp"},
                "method": {"name": "set", "density": 0.3, "options": {"interval": 20}},
                "training": {"epochs": 12, "batch_size": 32, "learning_rate": 0.05, "device": "cpu"},
            }
        )
        compress(recipe, folder)

    return once("trained-run", make) / "tiny"


@pytest.fixture(scope="session")
def shipped_run(trained_run: Path, once: Once, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with its bundle, bundle/pair: one ONNX file and one .pte. A copy for this process to audit."""
    from safedeploy import export

    made = once("shipped-run", lambda folder: export(shutil.copytree(trained_run, folder / "tiny")))
    return Path(shutil.copytree(made / "tiny", tmp_path_factory.mktemp("shipped-run") / "tiny"))
