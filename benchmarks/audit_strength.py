"""How strong the membership attacks are: every attack on the same victims, reference models and samples.

python -m benchmarks.audit_strength --data location30 --references 2 4 16 32 --victims 3 --data-root DIR --json F

A victim trains on a random half of the pool; a reference on a half drawn independently of it, in complementary pairs.
Half of the members and of the non-members is what the attacker knows while the other half is judged, and then the other
way round, so every sample of the pool is judged. With several victims figures are means over them.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.art_attacks import art_attacks
from benchmarks.common import parser, report
from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.remember import remember
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.base import Knowledge, ScoreFunction, Scores
from safedeploy.attacks.membership import attack_p, attack_r, combined, lira, rmia, threshold
from safedeploy.attacks.membership.pool import pool, target_phi
from safedeploy.attacks.references import References
from safedeploy.attacks.views import views_of
from safedeploy.audit.compare import auc_difference, rate_differences
from safedeploy.data.dataset import preprocess
from safedeploy.data.halves import half
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import Samples, content_digests
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.reweight import Exporter
from safedeploy.export.targets import Quantisation
from safedeploy.recipe import DataRecipe, TrainingRecipe
from safedeploy.roc import auc_interval, tpr_at_fpr
from safedeploy.seeds import derive, numpy_generator
from safedeploy.training.hooks import Hooks
from safedeploy.training.many import train_many

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FPRS = (0.01, 0.001)
RIVALS = ("lira online", "lira online, published", "rmia online")


def published_lira(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    asked = pool(artifact, knowledge, targets)
    return asked.scores(lira.ratio(asked.phi, asked.answers, lira.published(len(asked.answers.phi))))


ALONE: dict[str, ScoreFunction] = {"loss": threshold.loss, "attack P": attack_p.score}
WITH_REFERENCES: dict[str, ScoreFunction] = {
    "attack R": attack_r.score,
    "lira offline": lira.offline,
    "lira online": lira.online,
    "lira online, published": published_lira,
    "rmia offline": rmia.offline,
    "rmia online": rmia.online,
    "combined": combined.score,
}


@dataclass(frozen=True)
class Setting:
    """`pool`: members and non-members together. The training gives the train and test accuracy of the known figures."""

    pool: int
    make: Callable[[], nn.Module]
    recipe: TrainingRecipe


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(446, 256), nn.ReLU(), nn.Linear(256, 30))


def _cnn() -> nn.Module:
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    convolutions += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10))


def _recipe(**given: Any) -> TrainingRecipe:
    return TrainingRecipe(milestones=[], device="cpu", **given)


SETTINGS = {
    "location30": Setting(4000, _mlp, _recipe(epochs=50, batch_size=64, learning_rate=0.1)),
    "fashion-mnist": Setting(10000, _cnn, _recipe(epochs=12, batch_size=128, learning_rate=0.02)),
}


@dataclass(frozen=True, eq=False)
class Bench:
    """Trained models and the pool they are judged on; member (models, n): victims, then references."""

    samples: Samples
    modules: list[nn.Module]
    member: Bools
    accuracies: tuple[float, float]
    seconds: float


def train(source: str, root: str | None, victims: int, references: int, seed: int) -> Bench:
    setting = SETTINGS[source]
    dataset = load_dataset(DataRecipe(source=source, root=root))
    chosen = np.sort(numpy_generator(seed, "pool").permutation(len(dataset.y))[: setting.pool])
    assert dataset.preprocessing is not None
    samples = Samples(preprocess(dataset.x[chosen], dataset.preprocessing), dataset.y[chosen])
    mine = [numpy_generator(seed, "victim", k).permutation(setting.pool) < setting.pool // 2 for k in range(victims)]
    member = np.stack([*mine, *(half(samples.y, k, seed) for k in range(references))])
    modules = []
    for number in range(len(member)):
        torch.manual_seed(derive(seed, "weights", number))
        modules.append(setting.make())
    data = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    started = process_time()
    train_many(
        modules,
        data,
        [np.flatnonzero(inside) for inside in member],
        [Hooks()] * len(modules),
        setting.recipe,
        [derive(seed, "training", number) for number in range(len(modules))],
    )
    seconds = process_time() - started
    with torch.no_grad():
        right = [(module(data[0]).argmax(1) == data[1]).numpy() for module in modules[:victims]]
    accuracies = [
        float(np.mean([hits[inside == side].mean() for hits, inside in zip(right, member[:victims], strict=True)]))
        for side in (True, False)
    ]
    return Bench(samples, modules, member, (accuracies[0], accuracies[1]), seconds)


def artifacts(bench: Bench, kind: str, folder: Path) -> Iterator[Artifact]:
    """Each model as it is audited: the module, its ONNX file, or that file in int8."""
    shape = bench.samples.x.shape[1:]
    exporter = Exporter(shape, opset=18, model_name="model", x=bench.samples.x[:64])
    for number, module in enumerate(bench.modules):
        if kind == "torch":
            yield TorchArtifact(module, f"{number}", shape, int(bench.samples.y.max()) + 1)
            continue
        path = folder / f"{number}.onnx"
        exporter.export(module, path)
        if kind == "int8":
            calibration = bench.samples.x[np.flatnonzero(bench.member[number])[:256]]
            quantise_onnx(path, folder / f"{number}.int8.onnx", calibration, Quantisation())
            path = folder / f"{number}.int8.onnx"
        yield OnnxArtifact(path, threads=1)


@dataclass(frozen=True, eq=False)
class Fold:
    """What is known and what is judged; `rows`: where the judged samples, members first, stand in the pool."""

    members: Samples
    nonmembers: Samples
    targets: Samples
    rows: NDArray[np.int64]


def folds(samples: Samples, member: Bools, seed: int) -> list[Fold]:
    sides = [
        numpy_generator(seed, "known", k).permutation(np.flatnonzero(member == side)) for k, side in enumerate((1, 0))
    ]
    first, second = ([np.sort(side[start::2]) for side in sides] for start in (0, 1))

    def of(rows: NDArray[np.int64]) -> Samples:
        return Samples(samples.x[rows], samples.y[rows])

    made = []
    for known, held in ((first, second), (second, first)):
        rows = np.concatenate(held)
        made.append(Fold(of(known[0]), of(known[1]), of(rows), rows))
    return made


def judged(
    attack: ScoreFunction, artifact: Artifact, asked: Sequence[Fold], references: References | None
) -> tuple[Floats, float]:
    """(scores of the whole pool, CPU-seconds of one audit)."""
    scores = np.empty(sum(len(fold.rows) for fold in asked))
    started = process_time()
    for fold in asked:
        knowledge = Knowledge(fold.members, fold.nonmembers, 0, references)
        scores[fold.rows] = attack(artifact, knowledge, fold.targets).values
    return scores, (process_time() - started) / len(asked)


@dataclass
class Outcome:
    """An attack's scores and CPU-seconds, victim by victim."""

    scores: list[Floats]
    seconds: list[float]


def row(name: str, references: int, outcome: Outcome, member: Bools) -> dict[str, Any]:
    figures: dict[str, list[float]] = defaultdict(list)
    for scores, mine in zip(outcome.scores, member, strict=True):
        inside, outside = scores[mine], scores[~mine]
        figures["auc"].append((found := auc_interval(inside, outside))[0])
        figures["auc_low"].append(found[1])
        figures["auc_high"].append(found[2])
        for fpr, column in zip(FPRS, ("tpr_1", "tpr_01"), strict=True):
            rate = tpr_at_fpr(inside, outside, fpr)
            for suffix, value in (("", rate.tpr), ("_low", rate.low), ("_high", rate.high), ("_null", rate.null_high)):
                figures[column + suffix].append(value)
    means = {column: float(np.mean(values)) for column, values in figures.items()}
    spread = {f"{column}_sd": float(np.std(figures[column], ddof=1)) if len(member) > 1 else "" for column in MAIN}
    return line(name, references, len(member), means | spread, float(np.mean(outcome.seconds)))


def gain(ours: Outcome, theirs: dict[str, Outcome], references: int, member: Bools) -> dict[str, Any]:
    """Combined less whichever rival is best on that victim, figure by figure; the intervals are paired ones' means."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for number, mine in enumerate(member):
        order = np.concatenate([np.flatnonzero(mine), np.flatnonzero(~mine)])
        count, own = int(mine.sum()), ours.scores[number][order]
        differences: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for rival in theirs.values():
            other = rival.scores[number][order]
            differences["auc"].append(auc_difference(other, own, count))
            for column, difference in zip(MAIN[1:], rate_differences(other, own, count, FPRS, number), strict=True):
                differences[column].append(difference)
        for column, values in differences.items():
            found[column].append(min(values))
    means: dict[str, Any] = {}
    for column, values in found.items():
        means |= zip((column, f"{column}_low", f"{column}_high"), np.mean(values, axis=0)[:3].tolist(), strict=True)
        means[f"{column}_sd"] = float(np.std([value[0] for value in values], ddof=1)) if len(values) > 1 else ""
        means[f"{column}_null"] = f"{sum(value[1] > 0 for value in values)} of {len(values)} above 0"
    return line("combined less the best of lira and rmia", references, len(member), means, "")


MAIN = ("auc", "tpr_1", "tpr_01")
DETAIL = ("_low", "_high", "_null", "_sd")


def line(name: str, references: int, victims: int, figures: dict[str, Any], seconds: float | str) -> dict[str, Any]:
    columns = [*MAIN, "cpu_seconds", *(column + part for column in MAIN for part in DETAIL)]
    given = figures | {"cpu_seconds": seconds}
    return {"attack": name, "references": references, "victims": victims} | {c: given.get(c, "") for c in columns}


def measure(source: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    counts = sorted(given.references)
    bench = train(source, given.data_root, given.victims, counts[-1], given.seed)
    samples, victims = bench.samples, bench.member[: given.victims]
    which = views_of(SETTINGS[source].recipe, samples.x.shape[1:], given.views)
    with tempfile.TemporaryDirectory() as folder:
        started = process_time()
        opened = list(artifacts(bench, given.artifact, Path(folder)))
        shared = np.stack([target_phi(one, samples, which) for one in opened[given.victims :]])
        asking = process_time() - started
        pooled = References(content_digests(samples.x), samples.y, shared, bench.member[given.victims :], which)
        outcomes: dict[tuple[int, str], Outcome] = defaultdict(lambda: Outcome([], []))
        for number, mine in enumerate(victims):
            artifact, asked = remember(opened[number]), folds(samples, mine, given.seed)
            for fold in asked:  # the answers are shared by all attacks, so they are not timed
                for part in (fold.members, fold.nonmembers, fold.targets):
                    pooled.of(part), target_phi(artifact, part, which)
            plain = ALONE | (art_attacks() if given.peers else {})
            for name, attack in plain.items():
                _add(outcomes[0, name], judged(attack, artifact, asked, None))
            for count in counts:
                for name, attack in WITH_REFERENCES.items():
                    _add(outcomes[count, name], judged(attack, artifact, asked, pooled.take(count)))
    trained, tested = bench.accuracies
    told = {"auc": "", "tpr_1": f"train {trained:.3f}", "tpr_01": f"test {tested:.3f}"}
    rows = [line("(training all models)", counts[-1], given.victims, told, bench.seconds)]
    rows.append(line("(exporting and asking them)", counts[-1], given.victims, {}, asking))
    for (count, name), outcome in outcomes.items():
        rows.append(row(name, count, outcome, victims))
        if name == "combined":
            rivals = {rival: outcomes[count, rival] for rival in RIVALS}
            rows.append(gain(outcome, rivals, count, victims))
    return [{"data": source, "artifact": given.artifact} | one for one in rows]


def _add(outcome: Outcome, found: tuple[Floats, float]) -> None:
    outcome.scores.append(found[0])
    outcome.seconds.append(found[1])


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["location30"], choices=list(SETTINGS))
    options.add_argument("--references", nargs="+", type=int, default=[2, 4, 16, 32])
    options.add_argument("--victims", type=int, default=1)
    options.add_argument("--artifact", default="onnx", choices=["torch", "onnx", "int8"])
    options.add_argument("--views", type=int, default=1, help="views of an image that every model is asked about")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--peers", action="store_true", help="ART's black-box attacks too (pip install '.[peers]')")
    given = options.parse_args()
    torch.set_num_threads(1)
    report([one for source in given.data for one in measure(source, given)], given.json)


if __name__ == "__main__":
    main()
