"""The fast path beside its peers: dense float32 and int8, ours, torch-pruning with ONNX Runtime's int8, NNCF.

One dense model a network, the same fine-tuning for every variant, files timed in alternating blocks.

python -m benchmarks.latency --data-root DIR --models lenet5 mobilenet_v2 resnet18 --cache DIR --json F
python -m benchmarks.latency --cache DIR --train-only      trains and exports what the cache lacks, times nothing
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import parser, report
from benchmarks.latency_models import SEED, SETTINGS, Data, dense_model, fine_tuned, load_data
from benchmarks.latency_peers import nncf_pruned, torch_pruning
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import Measurement, Rules, measure, ratio
from safedeploy.data.samples import Samples
from safedeploy.export.bundle import export_bundle
from safedeploy.export.targets import Target, load_target
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe
from safedeploy.results import Preprocessing
from safedeploy.sparsity.structure import as_shipped
from safedeploy.training.hooks import Hooks

FLOAT32, INT8 = "dense float32", "dense int8"
VARIANTS = (FLOAT32, INT8, "ours float32", "ours", "torch-pruning + ORT int8", "NNCF")
RUNTIMES = {"onnxruntime": "onnx", "executorch": "pte"}
VALIDATION = 1000  # training images that a bundle's files are verified on
AT_ONCE = 1e-9  # share of the steps before the cut: the model is trained already


def ours(name: str, dense: nn.Module, density: float, data: Data, place: Path) -> nn.Module:
    """`--method magnitude --structure channel`, from the dense weights on: channels masked, then fine-tuned."""
    recipe = MethodRecipe(name="magnitude", density=density, structure="channel", options={"prune_at": AT_ONCE})
    known = Samples(*data.train)
    context = Context(
        density, SEED, len(data.class_names), data.input_shape, known, known, known, structure=recipe.structure
    )
    return fine_tuned(name, dense, make_method(recipe, context), data, place)


def bundle(name: str, module: nn.Module, structure: Any, data: Data, place: Path, target: Target | None = None) -> Path:
    """The files of `target`, or all four, as `export` makes and verifies them, once."""
    if not (place / "manifest.json").exists():
        x, y = (part[-VALIDATION:] for part in data.train)
        export_bundle(
            as_shipped(module, data.input_shape, structure),
            place,
            target or load_target("android"),
            model_name=name,
            preprocessing=Preprocessing(raw="uint8 NCHW, 0 to 255", scale=1 / 255, mean=[0.2860], std=[0.3530]),
            class_names=data.class_names,
            calibration=data.calibration,
            x=x,
            y=y,
            structure=structure,
            trained=module,
        )
    return place


def files(name: str, density: float, data: Data, cache: Path, wanted: list[str]) -> dict[tuple[str, str], Path]:
    """(runtime, variant) → file; what the cache lacks is trained and exported."""
    place, start = cache / name, dense_model(name, data, cache)
    tuned = fine_tuned(name, start, Hooks(), data, place / "dense-tuned")
    dense = bundle(name, tuned, "irregular", data, place / "dense-tuned" / "bundle")
    made = {}
    for runtime, suffix in RUNTIMES.items():
        made[runtime, FLOAT32] = dense / f"model.{suffix}"
        made[runtime, INT8] = dense / f"model.int8.{suffix}"
    pruned = place / f"channel-{density:g}"
    if {"ours", "ours float32"} & set(wanted):
        small = bundle(name, ours(name, start, density, data, pruned), "channel", data, pruned / "bundle")
        for runtime, suffix in RUNTIMES.items():
            made[runtime, "ours float32"] = small / f"model.{suffix}"
            made[runtime, "ours"] = small / f"model.int8.{suffix}"
    peers: dict[str, Callable[..., Path]] = {VARIANTS[4]: torch_pruning, VARIANTS[5]: nncf_pruned}
    for variant, make in peers.items():
        if variant in wanted:
            slug = f"{make.__name__}-{density:g}"
            made["onnxruntime", variant] = make(name, copy.deepcopy(start), density, data, place / slug)
    return {key: path for key, path in made.items() if key[1] in wanted}


def timed(made: dict[tuple[str, str], Path], runtime: str, rules: Rules) -> dict[str, Measurement]:
    chosen = {variant: path for (where, variant), path in made.items() if where == runtime}
    measured = measure(list(chosen.values()), rules, threads=1, device=Local())
    return dict(zip(chosen, measured, strict=True))


def row(
    name: str, runtime: str, variant: str, path: Path, data: Data, all_of_them: dict[str, Measurement]
) -> dict[str, Any]:
    x, y = data.test
    answers = open_artifact(path, threads=1).logits(x).argmax(axis=1)
    one = all_of_them[variant]
    found: dict[str, Any] = {
        "data": "fashion-mnist",
        "model": name,
        "runtime": runtime,
        "variant": variant,
        "accuracy": float((answers == y).mean()),
        "p50_ms": float(np.median(one.latencies)) / 1e6,
    }
    for to, key in ((FLOAT32, "ratio_to_dense_float32"), (INT8, "ratio_to_dense_int8")):
        beside = ratio(all_of_them[to], one, "") if to in all_of_them else None
        found[key] = beside.median if beside else math.nan
        found[f"{key}_spread"] = f"{beside.low:.3g} to {beside.high:.3g}" if beside else ""
    found["size_bytes"] = path.stat().st_size
    return found


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), default=list(RUNTIMES))
    options.add_argument("--density", type=float, help="instead of each model's own")
    options.add_argument("--cache", type=Path, default=Path("latency-cache"), help="trained weights and exported files")
    options.add_argument("--queries", type=int, default=128, help="at least so many for each file")
    options.add_argument("--seconds", type=float, default=10.0, help="inside queries, for each file")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="for training; timing takes one")
    options.add_argument("--train-only", action="store_true", help="fill the cache and time nothing")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    rules, rows = Rules(queries=given.queries, seconds=given.seconds), []
    for name in given.models:
        setting = SETTINGS[name]
        data = load_data(setting, given.data_root)
        made = files(name, given.density or setting.density, data, given.cache, given.variants)
        for runtime in [] if given.train_only else given.runtimes:
            found = timed(made, runtime, rules)
            rows += [row(name, runtime, variant, made[runtime, variant], data, found) for variant in found]
    if rows:
        report(rows, given.json)


if __name__ == "__main__":
    main()
