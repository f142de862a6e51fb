"""Cells of benchmarks/pareto.py: K models of one recipe on halves of one pool, exported, and what their files answer.

Models 2j and 2j + 1 train on complementary halves (data/halves.py), with their known and evaluation roles drawn within,
so each can be the victim whose references are all the others but its complement: trained the same way, every sample in
as many of them with as without. A model that is finished is kept in the cell's folder; a cell that was cut off goes on.
"""

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.attacks.views import views, views_of
from safedeploy.compression import Examples, fresh
from safedeploy.data.halves import POOL, half, half_split
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import Samples
from safedeploy.data.split import MEMBERS, draw_split
from safedeploy.export.encoding.encode import encode
from safedeploy.export.reweight import Exporter
from safedeploy.export.targets import load_target
from safedeploy.recipe import Recipe
from safedeploy.rundir import write_bytes, write_text
from safedeploy.seeds import derive
from safedeploy.sparsity.structure import as_shipped
from safedeploy.training.many import train_many

Floats = NDArray[np.float32]

PROOF = 32  # samples on which a rewritten file is held against its module


@dataclass(frozen=True, eq=False)
class Cell:
    """What the K models of a cell answered. pool: (K, n, classes), test: (K, m, classes) logits; member: (K, n).

    views: (K, n, Q, classes), after an augmented training the answers at every view of the pool (attacks/views.py).
    size_bytes: of the first one's encoded file. seconds: of training one, by the clock, export and questions left out.
    """

    pool: Floats
    test: Floats
    member: NDArray[np.bool_]
    size_bytes: int
    seconds: float
    views: Floats | None = None


class Pool:
    """The data of a recipe: who can be a member, and each model's own split."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        data = load_dataset(recipe.data)
        split = draw_split(data.y, data.official_test, recipe.split, recipe.seed, data.fingerprint, data.class_names)
        if data.preprocessing is None:
            raise SystemExit(f"{data.name}: columns standardised by their members have no pool in common; not measured")
        self.examples = Examples(data, split)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        return self.examples.split.indices(*POOL)

    @cached_property
    def samples(self) -> Samples:
        return self.examples.samples(*POOL)

    @cached_property
    def test(self) -> Samples:
        return self.examples.samples("test")

    def member(self, number: int) -> NDArray[np.bool_]:
        return half(self.examples.dataset.y[self.rows], number, derive(self.recipe.seed, "references"))

    def part(self, number: int) -> Examples:
        seed = derive(self.recipe.seed, "reference", number)
        data = self.examples.dataset
        return Examples(data, half_split(self.examples.split, data.y, self.member(number), seed))


def cell(pool: Pool, recipe: Recipe, count: int, folder: Path, told: Callable[[str], None]) -> Cell:
    """The cell of `recipe`, whose data and split are those of `pool`; models that `folder` lacks are trained first."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not _place(folder, number).is_file()]
    if missing:
        _make(pool, recipe, missing, folder, told)
    stored = [np.load(_place(folder, number)) for number in range(count)]
    figures = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    return Cell(
        np.stack([one["pool"] for one in stored]),
        np.stack([one["test"] for one in stored]),
        np.stack([pool.member(number) for number in range(count)]),
        **figures,
        views=np.stack([one["views"] for one in stored]) if "views" in stored[0] else None,
    )


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.npz"


def _make(pool: Pool, recipe: Recipe, numbers: Sequence[int], folder: Path, told: Callable[[str], None]) -> None:
    parts = [pool.part(number) for number in numbers]
    seeds = [derive(recipe.seed, "reference", number) for number in numbers]
    made = [fresh(recipe.model_copy(update={"seed": seed}), part) for seed, part in zip(seeds, parts, strict=True)]
    modules, hooks = [module for module, _ in made], [hook for _, hook in made]
    rows = [np.searchsorted(pool.rows, part.split.indices(*MEMBERS)) for part in parts]
    opset = load_target(recipe.target).opset
    exporter = Exporter(pool.samples.x.shape[1:], opset=opset, model_name="model", x=pool.samples.x[:PROOF])
    done, asking = 0, 0.0
    sizes: dict[str, Any] = {}

    def finished(k: int) -> None:
        nonlocal done, asking
        began = perf_counter()
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as scratch:
            size = _ask(pool, recipe, modules[k], exporter, _place(folder, numbers[k]), Path(scratch))
        sizes.setdefault("size_bytes", size)
        done, asking = done + 1, asking + perf_counter() - began
        told(f"{done} of {len(numbers)} models")

    started = perf_counter()
    train_many(
        modules,
        (torch.from_numpy(pool.samples.x), torch.from_numpy(pool.samples.y)),
        rows,
        hooks,
        recipe.training,
        seeds,
        finished=finished,
    )
    sizes |= {"seconds": round((perf_counter() - started - asking) / len(numbers), 3)}
    if not (folder / "cell.json").is_file():
        write_text(folder / "cell.json", json.dumps(sizes))


def _ask(pool: Pool, recipe: Recipe, module: nn.Module, exporter: Exporter, place: Path, scratch: Path) -> int:
    """Export as `safedeploy export` does, ask the file about pool and test, keep the answers; the file's size."""
    shape = pool.samples.x.shape[1:]
    exporter.export(as_shipped(module, shape, recipe.method.structure), scratch / "plain.onnx")
    encode(scratch / "plain.onnx", scratch / "model.onnx")
    artifact = OnnxArtifact(scratch / "model.onnx", threads=1)
    buffer = io.BytesIO()
    answers = {"pool": artifact.logits(pool.samples.x), "test": artifact.logits(pool.test.x)}
    if recipe.training.augment != "none":
        which = views_of(recipe.training, shape)
        answers["views"] = np.stack([artifact.logits(view) for view in views(pool.samples.x, which)], axis=1)
    np.savez(buffer, **answers)
    size = (scratch / "model.onnx").stat().st_size
    write_bytes(place, buffer.getvalue())
    return size
