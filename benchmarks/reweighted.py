"""Reweighted pruning and physical shrink beside the dense model: accuracy, multiply-adds and ONNX Runtime latency.

The dense models of benchmarks/latency.py, trained on for the same epochs with and without pruning; files timed in
alternating blocks, batch 1, one thread. flops_ratio and latency_ratio: of the dense float32 model to the file's.
"a query alone" is the dense model with one channel left of each group, not trained: the floor of any pruning.

python -m benchmarks.reweighted --data-root DIR --cache DIR --models lenet5 mobilenet_v2 --json F
python -m benchmarks.reweighted --data-root DIR --cache DIR --untimed      accuracy and multiply-adds alone
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common import parser, report
from benchmarks.latency import bundle
from benchmarks.latency_models import FINE_RATE, SEED, SETTINGS, Data, dense_model, load_data, trained
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import Measurement, Rules, measure, ratio
from safedeploy.data.samples import Samples
from safedeploy.export.onnx import export_onnx
from safedeploy.export.targets import Target, load_target
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.plan.layers import layers_of
from safedeploy.recipe import MethodRecipe
from safedeploy.sparsity.coupled import coupled_channels
from safedeploy.sparsity.structure import as_shipped
from safedeploy.training.hooks import Hooks

AT_ONCE = 1e-9  # share of the steps before magnitude's cut: the model is trained already


@dataclass(frozen=True)
class Pruned:
    """density: share of the prunable weights that is left; epochs: trained on, dense too; gamma: of the penalty."""

    density: float
    epochs: int
    gamma: float
    prune_at: float


PRUNED = {
    "lenet5": Pruned(density=0.25, epochs=6, gamma=1.0, prune_at=0.5),
    "mobilenet_v2": Pruned(density=0.175, epochs=6, gamma=0.02, prune_at=0.1),
}


@dataclass(frozen=True, eq=False)
class Variant:
    method: str
    density: float
    path: Path
    flops: int


def multiply_adds(module: nn.Module, data: Data) -> int:
    """Of the convolutions and linear layers, for one input."""
    return sum(layer.macs for layer in layers_of(module, data.input_shape, "module"))


def trained_on(name: str, method: str, how: Pruned, data: Data, cache: Path) -> tuple[nn.Module, Path]:
    """The network's dense model, trained on under `method`, and the folder it is kept in."""
    structure = "irregular" if method == "dense" else "channel"
    options = {"reweighted": {"gamma": how.gamma, "prune_at": how.prune_at}, "magnitude": {"prune_at": AT_ONCE}}
    density = 1.0 if method == "dense" else how.density
    recipe = MethodRecipe(name=method, density=density, structure=structure, options=options.get(method, {}))
    known = Samples(*data.train)
    context = Context(density, SEED, len(data.class_names), data.input_shape, known, known, known, structure=structure)
    hooks = Hooks() if method == "dense" else make_method(recipe, context)
    said = "" if method == "dense" else f"-{how.density:g}" + (f"-{how.gamma:g}" if method == "reweighted" else "")
    place = cache / name / f"{method}-on-{how.epochs}{said}"
    start = copy.deepcopy(dense_model(name, data, cache))
    return trained(start, hooks, data, place, SETTINGS[name], how.epochs, FINE_RATE), place


def variants(name: str, methods: Sequence[str], how: Pruned, data: Data, cache: Path) -> list[Variant]:
    """The dense file first, then each method's float32 and int8 files."""
    found = []
    for method in ("dense", *methods):
        module, place = trained_on(name, method, how, data, cache)
        structure = "irregular" if method == "dense" else "channel"
        files = bundle(name, module, structure, data, place / "bundle", _onnx())
        flops = multiply_adds(as_shipped(module, data.input_shape, structure), data)
        density = 1.0 if method == "dense" else how.density
        found.append(Variant(method, density, files / "model.onnx", flops))
        found.append(Variant(f"{method} int8", density, files / "model.int8.onnx", flops))
    return found


def _onnx() -> Target:
    """The phone's target without the files of a runtime that is not timed here."""
    target = load_target("android")
    return target.model_copy(update={"files": [name for name in target.files if name.endswith(".onnx")]})


def floor(name: str, data: Data, cache: Path) -> Variant:
    """The dense model with all but one channel of each group emptied."""
    module = copy.deepcopy(dense_model(name, data, cache))
    tensors = dict(module.named_parameters())
    with torch.no_grad():
        for group in coupled_channels(module, data.input_shape):
            for slot in group.slots:
                if slot.name in tensors:
                    tensors[slot.name].index_fill_(slot.dim, slot.places[1:].flatten(), 0)
    smallest, path = as_shipped(module, data.input_shape, "channel"), cache / name / "floor.onnx"
    export_onnx(smallest, data.input_shape, path, opset=20, model_name=name)
    return Variant("a query alone", 0.0, path, multiply_adds(smallest, data))


def row(name: str, one: Variant, data: Data, dense: Variant, timed: dict[Path, Measurement]) -> dict[str, Any]:
    x, y = data.test
    answers = open_artifact(one.path, threads=1).logits(x).argmax(axis=1)
    beside = ratio(timed[one.path], timed[dense.path], "") if timed else None
    return {
        "data": "fashion-mnist",
        "model": name,
        "method": one.method,
        "density": one.density,
        "accuracy": float((answers == y).mean()),
        "flops_ratio": dense.flops / one.flops,
        "latency_ratio": beside.median if beside else math.nan,
        "spread": f"{beside.low:.3g} to {beside.high:.3g}" if beside else "",
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="+", choices=list(PRUNED), default=list(PRUNED))
    options.add_argument("--methods", nargs="+", choices=["reweighted", "magnitude"], default=["reweighted"])
    options.add_argument("--density", type=float, help="instead of each model's own")
    options.add_argument("--gamma", type=float, help="instead of each model's own")
    options.add_argument("--epochs", type=int, help="of training on, instead of each model's own")
    options.add_argument("--cache", type=Path, default=Path("latency-cache"), help="trained weights and exported files")
    options.add_argument("--seconds", type=float, default=10.0, help="inside queries, for each file")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for training; timing takes one")
    options.add_argument("--untimed", action="store_true", help="accuracy and multiply-adds alone")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    for name in given.models:
        own = {key: getattr(given, key) for key in ("density", "gamma", "epochs") if getattr(given, key) is not None}
        how, data = replace(PRUNED[name], **own), load_data(SETTINGS[name], given.data_root)
        made = [*variants(name, given.methods, how, data, given.cache), floor(name, data, given.cache)]
        paths, rules = [one.path for one in made], Rules(queries=128, seconds=given.seconds)
        measured = [] if given.untimed else measure(paths, rules, threads=1, device=Local())
        timed = dict(zip(paths, measured, strict=True)) if measured else {}
        rows += [row(name, one, data, made[0], timed) for one in made]
    report(rows, given.json)


if __name__ == "__main__":
    main()
