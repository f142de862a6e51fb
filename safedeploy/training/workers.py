"""Worker processes that train groups of models beside this one, each on one thread: small networks gain little from
more threads (safedeploy/threads.py), and torch's global random state is a process's own.

Not `multiprocessing`: its spawned children run the user's script again where that has no main guard. A worker is a
child of this process and the two speak pickles over their own pipes.
"""

import contextlib
import copy
import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.recipe import TrainingRecipe
from safedeploy.training.group import Job, train_group

_EMPTY = nn.Identity()
_FACTORY = "safedeploy_model_"  # what models/factory.py calls the user's files


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Takes groups from `take` until it gives None, in `count` processes; `close` ends them wherever they are.

    tell: "steps", how many were done; "trained", a group whose modules have their final weights; "failed", (group,
    error) where a worker could not train it: a UserError is the training's own, anything else the worker's, such as a
    model that cannot be pickled.
    """

    def __init__(
        self,
        count: int,
        jobs: Sequence[Job],
        pool: tuple[Tensor, Tensor],
        recipe: TrainingRecipe,
        take: Callable[[], list[int] | None],
        tell: Callable[[str, Any], None],
    ) -> None:
        self._jobs, self._take, self._tell = jobs, take, tell
        self._folder = tempfile.TemporaryDirectory()
        places = [Path(self._folder.name) / f"{name}.npy" for name in ("x", "y")]
        for place, part in zip(places, pool, strict=True):
            np.save(place, part.numpy(force=True))
        factories = {name: str(module.__file__) for name, module in sys.modules.items() if name.startswith(_FACTORY)}
        # a user's file is run anew for every model, and pickle knows the classes of its last run alone
        self._beginning = (sys.path, factories, places, recipe), jobs[-1].module
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._take = lambda: None
        for child in self._children:
            child.kill()
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def _serve(self) -> None:
        """One worker's side of the talk, in a thread of this process."""
        command = [sys.executable, "-c", "from safedeploy.training.workers import main; main()"]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        # a session of its own: Ctrl-C reaches this process alone, which ends its workers
        environment = {**os.environ, "PYTHONPATH": paths}
        with (
            contextlib.suppress(BrokenPipeError),
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
            ) as child,
        ):
            self._children.append(child)
            assert child.stdin is not None
            assert child.stdout is not None
            beginning: Any = self._beginning
            while group := self._take():
                try:
                    jobs = [self._jobs[k] for k in group]
                    asked = [(_weights(job.module), replace(job, module=_EMPTY)) for job in jobs]
                    child.stdin.write(b"".join(pickle.dumps(part) for part in (*beginning, asked)))
                    child.stdin.flush()
                    beginning = ()
                    self._hear(child.stdout, group)
                except Exception as error:
                    self._tell("failed", (group, error))
                    break
            child.kill()

    def _hear(self, pipe: Any, group: list[int]) -> None:
        while True:
            kind, value = pickle.load(pipe)
            if kind == "steps":
                self._tell("steps", value)
            elif kind == "weights":
                for k, weights in zip(group, value, strict=True):
                    _load_weights(self._jobs[k].module, weights)
                    self._jobs[k].module.eval()
                self._tell("trained", group)
                return
            elif kind == "user error":
                raise UserError(value)
            else:
                raise RuntimeError(value)


def main() -> None:
    """A worker: trains groups that come on standard input until it is closed."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a user's model prints must not get between the pickles

    def answer(kind: str, value: Any) -> None:
        pickle.dump((kind, value), answers)
        answers.flush()

    path, factories, places, recipe = pickle.load(asked)
    sys.path[:] = path
    torch.set_num_threads(1)
    x, y = (torch.from_numpy(np.load(place, mmap_mode="c")) for place in places)
    try:
        for name, file in factories.items():
            _load(name, file)
        pattern = pickle.load(asked)
        while True:
            jobs = [_filled(job, pattern, weights) for weights, job in pickle.load(asked)]
            train_group(jobs, (x, y), recipe, lambda steps: answer("steps", steps))
            answer("weights", [_weights(job.module) for job in jobs])
    except (EOFError, BrokenPipeError):
        os._exit(0)  # whom it works for has ended: nobody reads what is still to be sent
    except UserError as error:
        answer("user error", str(error))
    except Exception:
        answer("failed", traceback.format_exc())


def _weights(module: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: value.numpy(force=True) for name, value in module.state_dict().items()}


def _load_weights(module: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    module.load_state_dict({name: torch.from_numpy(part) for name, part in weights.items()})


def _filled(job: Job, pattern: nn.Module, weights: Mapping[str, NDArray[Any]]) -> Job:
    module = copy.deepcopy(pattern)
    _load_weights(module, weights)
    return replace(job, module=module)


def _load(name: str, file: str) -> None:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(Path(file).parent))
    spec.loader.exec_module(module)
