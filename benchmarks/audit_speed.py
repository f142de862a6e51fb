"""What an audit's parts cost against the plain way of doing them, alternating in one process; `--only KIND` for one.

stacked: many reference models trained by `train_many` against `run_training` one after another.

python -m benchmarks.audit_speed --only stacked --work location30,mlp,32,64 --epochs 3 --data-root DIR
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.common import parser, report

Cost = tuple[float, float]  # seconds of CPU, of all cores and processes, and of the clock


def cost(work: Callable[[], Any]) -> Cost:
    def used() -> float:
        return sum(part.ru_utime + part.ru_stime for part in (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)))

    cpu, clock = used(), perf_counter()
    work()
    return used() - cpu, perf_counter() - clock


def compared(pairs: Sequence[tuple[Cost, Cost]], plain: str, ours: str) -> dict[str, Any]:
    """Columns of what is compared: medians, and the ratio plain / ours with its extremes."""
    columns: dict[str, Any] = {}
    for number, unit in enumerate(("cpu", "clock")):
        ratios = [slow[number] / fast[number] for slow, fast in pairs]
        columns[f"{plain}_{unit}_s"] = median(slow[number] for slow, _ in pairs)
        columns[f"{ours}_{unit}_s"] = median(fast[number] for _, fast in pairs)
        columns[f"{unit}_ratio"] = median(ratios)
        columns[f"{unit}_lowest"], columns[f"{unit}_highest"] = min(ratios), max(ratios)
    return columns | {"repeats": len(pairs)}


def stacked(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One after another is linear in the models, so it is timed on `--alone` of them and scaled to all."""
    return [_stacked(given, *work.split(",")) for work in given.work]


def _stacked(given: argparse.Namespace, source: str, model: str, batch: str, count: str) -> dict[str, Any]:
    import torch

    from safedeploy.data.dataset import preprocess
    from safedeploy.data.load import load_dataset
    from safedeploy.models.zoo import build_model
    from safedeploy.recipe import DataRecipe, TrainingRecipe
    from safedeploy.training.hooks import Hooks
    from safedeploy.training.many import train_many
    from safedeploy.training.run import run_training

    dataset = load_dataset(DataRecipe(source=source, root=given.data_root))
    drawn = np.random.default_rng(0).permutation(len(dataset.y))[: 2 * given.members]
    x = dataset.x[drawn]
    prepared = x.astype(np.float32) if dataset.preprocessing is None else preprocess(x, dataset.preprocessing)
    pool = torch.from_numpy(prepared), torch.from_numpy(dataset.y[drawn])
    recipe = TrainingRecipe(epochs=given.epochs, batch_size=int(batch), learning_rate=0.05, device=given.device)
    models, few = int(count), min(given.alone, int(count))
    rows = [np.random.default_rng(k).permutation(len(drawn))[: len(drawn) // 2] for k in range(models)]
    fresh = [build_model(model, dataset.input_shape, len(dataset.class_names), k) for k in range(models)]
    kept: dict[str, list[Any]] = {}

    def alone() -> None:
        kept["alone"] = copy.deepcopy(fresh[:few])
        for k, module in enumerate(kept["alone"]):
            members = pool[0][rows[k]], pool[1][rows[k]]
            validation = pool[0][:500], pool[1][:500]
            with tempfile.TemporaryDirectory() as folder:
                files = {"metrics": Path(folder) / "metrics.jsonl", "checkpoints": Path(folder) / "checkpoints"}
                run_training(module, members, validation, Hooks(), recipe, k, **files)

    def many() -> None:
        kept["many"] = copy.deepcopy(fresh)
        hooks = [Hooks() for _ in range(models)]
        train_many(kept["many"], pool, rows, hooks, recipe, range(models), processes=given.processes)

    alone()  # not counted: what is imported and allocated once a process
    pairs = []
    for _ in range(given.repeats):
        cpu, clock = cost(alone)
        pairs.append(((cpu * models / few, clock * models / few), cost(many)))
    differences = [
        (mine.cpu() - theirs.cpu()).abs().max().item()
        for ours, others in zip(kept["many"][:few], kept["alone"], strict=True)
        for mine, theirs in zip(ours.state_dict().values(), others.state_dict().values(), strict=True)
    ]
    named = {"data": source, "model": model, "members": len(rows[0]), "batch": int(batch), "epochs": given.epochs}
    named |= {"models": models, "timed_alone": few, "processes": given.processes or "auto"}
    return named | compared(pairs, "alone", "many") | {"weights_differ_by": max(differences)}


KINDS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {"stacked": stacked}


def mlp_256(input_shape: tuple[int, ...], classes: int) -> Any:
    """A model factory for `--work`: one hidden layer of 256 units."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), 256), nn.ReLU(), nn.Linear(256, classes))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="cpu")
    training = options.add_argument_group("stacked")
    training.add_argument("--work", nargs="+", default=["digits,mlp,32,16"], help="data,model,batch,models")
    training.add_argument("--members", type=int, default=2000, help="of each model, out of a pool of twice as many")
    training.add_argument("--epochs", type=int, default=3)
    training.add_argument("--alone", type=int, default=8, help="models timed one after another")
    training.add_argument("--processes", type=int, help="of train_many, from the start; by default its own choice")
    given = options.parse_args()
    for kind in given.only:
        file = given.json
        if file is not None and len(given.only) > 1:
            file = file.with_stem(f"{file.stem}-{kind}")
        report(KINDS[kind](given), file)


if __name__ == "__main__":
    main()
