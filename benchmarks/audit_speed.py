"""What an audit's parts cost against the plain way of doing them, alternating in one process; `--only KIND` for one.

stacked: many reference models trained by `train_many` against `run_training` one after another.
cost: CPU of a whole audit of Location-30 with references: training, files, answers and every score-based attack.
scoring: ten attacks on an ONNX file against the runtime alone on the same batches.

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


def whole(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One victim and its references as module, float32 and int8 ONNX, each judged with references of its own kind.

    CPU of child processes counts: on one core there are none, which is cheaper.
    """
    import torch

    from benchmarks import audit_strength as strength
    from safedeploy.artifacts.remember import remember
    from safedeploy.attacks.base import Knowledge
    from safedeploy.attacks.membership import ATTACKS
    from safedeploy.attacks.membership.pool import target_phi
    from safedeploy.attacks.references import References
    from safedeploy.attacks.views import ITSELF
    from safedeploy.data.samples import content_digests
    from safedeploy.roc import auc
    from safedeploy.training.many import train_many  # noqa: F401  (its imports are not the audit's cost)

    torch.set_num_threads(1)
    few = strength.SETTINGS["location30"]
    strength.SETTINGS["location30"] = strength.Setting(few.pool, few.make, strength._recipe(**TRAINED))
    chosen = [one for one in ATTACKS if one.access == "black" and not one.queries and one.extra is None]
    made = {"torch": modules, "onnx": onnx_files, "int8": int8_files}
    rows: list[dict[str, Any]] = []
    kept: dict[str, Any] = {}

    def timed(artifact: str, part: str, work: Callable[[], Any], auc_of: Callable[[], float] | None = None) -> None:
        cpu, _ = cost(work)
        rows.append({"artifact": artifact, "part": part, "cpu_seconds": cpu, "auc": auc_of() if auc_of else ""})

    def train() -> None:
        kept["bench"] = strength.train("location30", given.data_root, 1, given.references, given.seed)

    timed("all", f"training {1 + given.references} models", train)
    bench = kept["bench"]
    rows[0]["part"] += " (train {:.3f}, test {:.3f})".format(*bench.accuracies)
    victim, digests = bench.member[0], content_digests(bench.samples.x)
    fold = strength.folds(bench.samples, victim, given.seed)[0]
    inside = victim[fold.rows]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for kind in made:

            def export(kind: str = kind) -> None:
                kept["files"] = made[kind](bench, place)

            def ask() -> None:
                phi = np.stack([target_phi(file, bench.samples, ITSELF) for file in kept["files"][1:]])
                kept["references"] = References(digests, bench.samples.y, phi, bench.member[1:])

            timed(kind, "files", export)
            timed(kind, "answers of the references", ask)
            knowledge = Knowledge(fold.members, fold.nonmembers, given.seed, kept["references"])
            artifact = remember(kept["files"][0])
            for attack in chosen:

                def run(attack: Any = attack, fold: Any = fold, known: Any = knowledge, file: Any = artifact) -> None:
                    kept["scores"] = attack.score(file, known, fold.targets).values

                def found(inside: Any = inside) -> float:
                    return auc(kept["scores"][inside], kept["scores"][~inside])

                timed(kind, attack.name, run, found)
    return [
        *rows,
        {"artifact": "all", "part": "sum", "cpu_seconds": sum(row["cpu_seconds"] for row in rows), "auc": ""},
    ]


def modules(bench: Any, place: Path) -> list[Any]:
    from safedeploy.artifacts.torch import TorchArtifact

    shape, classes = bench.samples.x.shape[1:], int(bench.samples.y.max()) + 1
    return [TorchArtifact(module, "module", shape, classes) for module in bench.modules]


def onnx_files(bench: Any, place: Path) -> list[Any]:
    from safedeploy.artifacts.onnx import OnnxArtifact
    from safedeploy.export.reweight import Exporter

    exporter = Exporter(bench.samples.x.shape[1:], opset=18, model_name="model", x=bench.samples.x[:32])
    for number, module in enumerate(bench.modules):
        exporter.export(module, place / f"{number}.onnx")
    return [OnnxArtifact(place / f"{number}.onnx", threads=1) for number in range(len(bench.modules))]


def int8_files(bench: Any, place: Path) -> list[Any]:
    """Out of the float32 files; each calibrated with members of its own."""
    from safedeploy.artifacts.onnx import OnnxArtifact
    from safedeploy.export.onnx_int8 import quantise_onnx
    from safedeploy.export.targets import Quantisation

    for number, member in enumerate(bench.member):
        calibration = bench.samples.x[np.flatnonzero(member)[:512]]
        quantise_onnx(place / f"{number}.onnx", place / f"{number}.int8.onnx", calibration, Quantisation())
    return [OnnxArtifact(place / f"{number}.int8.onnx", threads=1) for number in range(len(bench.modules))]


# reaches the accuracies of audit_strength's setting in 29 % of its steps
TRAINED: dict[str, Any] = {"epochs": 30, "batch_size": 128, "learning_rate": 0.2}


def scoring(given: argparse.Namespace) -> list[dict[str, Any]]:
    return [_scoring(given, *file.split(",")) for file in given.file]


def _scoring(given: argparse.Namespace, model: str, channels: str, size: str, count: str) -> dict[str, Any]:
    """Random weights and inputs: a forward pass takes as long on these. Half of the samples are known, half judged."""
    from safedeploy.artifacts.onnx import OnnxArtifact
    from safedeploy.artifacts.remember import remember
    from safedeploy.attacks.base import Knowledge
    from safedeploy.attacks.membership import ATTACKS
    from safedeploy.data.samples import Samples
    from safedeploy.export.onnx import export_onnx
    from safedeploy.models.zoo import build_model

    shape, samples = (int(channels), int(size), int(size)), int(count)
    attacks = [attack for attack in ATTACKS if ".threshold:" in attack.function]
    generator = np.random.default_rng(given.seed)
    x = generator.standard_normal((samples, *shape), dtype=np.float32)
    y = generator.integers(0, 10, samples)
    parts = [Samples(x[rows], y[rows]) for rows in np.split(np.arange(samples), [samples // 4, samples // 2])]
    del x
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(build_model(model, shape, 10, given.seed).eval(), shape, path, opset=18, model_name=model)
        artifact = OnnxArtifact(path, threads=1)

        def plain() -> None:
            for part in parts:
                for start in range(0, len(part.y), artifact.batch):
                    batch = {artifact.input_name: part.x[start : start + artifact.batch]}
                    artifact.session.run([artifact.output_name], batch)

        def ours() -> None:
            asked = remember(artifact)  # anew, so that it asks
            for attack in attacks:
                attack.score(asked, Knowledge(parts[0], parts[1]), parts[2])

        few = [Samples(part.x[:50], part.y[:50]) for part in parts]
        for attack in attacks:  # not counted: imports
            attack.score(artifact, Knowledge(few[0], few[1]), few[2])
        plain()
        before = getrusage(RUSAGE_SELF).ru_maxrss
        pairs = [(cost(ours), cost(plain)) for _ in range(given.repeats)]
        more = (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024
    named = {"model": model, "samples": samples, "attacks": len(attacks)}
    return (
        named
        | compared(pairs, "attacks", "runtime")
        | {"peak_more_mb": more, "samples_mb": 4 * np.prod(shape) * samples / 2**20}
    )


KINDS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "stacked": stacked,
    "cost": whole,
    "scoring": scoring,
}


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
    auditing = options.add_argument_group("cost")
    auditing.add_argument("--references", type=int, default=32)
    auditing.add_argument("--seed", type=int, default=0)
    files = options.add_argument_group("scoring")
    files.add_argument("--file", nargs="+", default=["lenet5,1,28,100000"], help="model,channels,size,samples")
    given = options.parse_args()
    for kind in given.only:
        file = given.json
        if file is not None and len(given.only) > 1:
            file = file.with_stem(f"{file.stem}-{kind}")
        report(KINDS[kind](given), file)


if __name__ == "__main__":
    main()
