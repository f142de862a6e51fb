"""Every training method at matched accuracy: leakage against test accuracy against encoded size, by strong attacks.

python -m benchmarks.pareto --data location30 --data-root DIR --cache DIR --json F --plot F.png
python -m benchmarks.pareto --data digits --methods dense set set+crossfit:weight=0.9 --densities 0.1 0.2
python -m benchmarks.pareto --rows F.json G.json --judges rmia-online lira-online --plot H.png
python -m benchmarks.pareto --recipe benchmarks/pareto-cifar10.toml --densities 0.05 0.1 0.2 --models 64 --cache DIR

A method is METHOD[:KEY=VALUE,…][+DEFENCE[:KEY=VALUE,…]]…[@KEY=VALUE,…], after the @ what differs in its training, as
dense@epochs=9 or set@augment=crop-flip,epochs=60; those that keep every weight are trained at density 1 alone.
Of each, `--models` are trained on halves of one pool, exported to ONNX and encoded; `--victims` of them are judged,
each with the others, trained the same way, as references, on evaluation roles (pareto_cells, pareto_judge). Dense
training and its early stops are the control that every method is matched with (pareto_frontier). Cells are kept in
`--cache`; a run that was cut off goes on model by model. A row of the JSON is a victim and an attack; `--rows` makes
the table and the plot of rows that were measured before.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import machine, parser, report
from benchmarks.pareto_cells import Pool, cell
from benchmarks.pareto_frontier import paired, plot, summary
from benchmarks.pareto_judge import rows
from safedeploy.compose import make_recipe
from safedeploy.methods.registry import METHODS
from safedeploy.recipe import MethodRecipe, Recipe, read_recipe, validate

# what differs from the defaults of the data set, so that all three take about an hour on two cores
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"training": {"epochs": 60}},
    "location30": {},
    "fashion-mnist": {"split": {"known": 0.04, "evaluation": 0.04, "validation": 0.05}},
}
STOPS = {"digits": (3, 6, 10, 15, 30), "location30": (4, 5, 7, 9, 15), "fashion-mnist": (2, 4, 7, 10, 14)}
METHODS_COMPARED = (
    "dense",
    "dense+label-smoothing",
    "dense+relaxloss",
    "dense+ppb",
    "dense+hamp",
    "dense+crossfit",
    "magnitude",
    "set",
    "rigl",
    "mcmia",
    "reweighted",
    "safecompress",
    "set+crossfit",
    "set+crossfit:folds=4,generations=2",
    "safecompress:testers=rmia,strategies=magnitude/random|set/random+crossfit",
)


def base_recipe(data: str, given: argparse.Namespace) -> Recipe:
    if given.recipe:
        return read_recipe(given.recipe)
    recipe = make_recipe(data=data, data_root=given.data_root, method="dense", seed=given.seed)
    content = recipe.model_dump(exclude_none=True)
    for section, values in SETTINGS.get(data, {}).items():
        content[section] = {**content[section], **values}
    return validate(content, "the options")


def parse(text: str, density: float) -> MethodRecipe:
    """METHOD[:KEY=VALUE,…][+DEFENCE[:KEY=VALUE,…]]…[@…]"""
    (name, options), *defences = [_named(part) for part in re.split(r"\+(?=[a-z])", text.partition("@")[0])]
    return MethodRecipe(name=name, density=density, options=options, defences=dict(defences))


def recipe_of(base: Recipe, text: str, density: float) -> Recipe:
    """`base` with a method, and what is said after its @ of the training."""
    content = base.model_dump(exclude_none=True)
    content["training"] |= _values(text.partition("@")[2])
    changed = validate(content, text).training
    return base.model_copy(update={"method": parse(text, density), "training": changed})


def _named(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    return name, _values(rest)


def _values(text: str) -> dict[str, Any]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {key: value.split("|") if "|" in value else value for key, _, value in pairs}


def cells(data: str, given: argparse.Namespace) -> list[tuple[str, float]]:
    """Every (method, density) to be measured; dense and its early stops first."""
    stops = given.stops or STOPS.get(data, ())
    wanted = [*given.methods, *(f"dense+early-stop:epochs={epochs}" for epochs in stops)]
    found = []
    for method in wanted:
        sparse = METHODS[parse(method, 1.0).name].sparse
        found += [(method, density) for density in (given.densities if sparse else [1.0])]
    return found


def measure(data: str, given: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    base = base_recipe(data, given)
    pool, found = Pool(base), []
    for method, density in cells(data, given):
        recipe = recipe_of(base, method, density)
        slug = re.sub(r"[^A-Za-z0-9.=+@-]", "_", f"{method}-{density:g}")
        folder = cache / f"{base.data.source}-{base.model.name}-{base.training.epochs}-{base.seed}" / slug
        told = partial(print, f"{data} {slug}:", flush=True) if given.verbose else lambda text: None
        made = cell(pool, recipe, given.models, folder, told)
        common = {"data": base.data.source, "model": base.model.name, "method": method, "density": density}
        cost = {"bytes": made.size_bytes, "seconds": made.seconds}
        found += [common | row | cost for row in rows(pool, made, given.victims, given.papers)]
    return found


def written(lines: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], path: Path | None) -> None:
    """The JSON: rows as measured, and the table of `summary`."""
    if path is not None:
        content = {"machine": machine(), "rows": list(found), "summary": list(lines)}
        path.write_text(json.dumps(content, indent=1, default=float) + "\n", encoding="utf-8")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--recipe", type=Path, help="a recipe in place of --data: its data, model, split and training")
    options.add_argument("--methods", nargs="+", default=list(METHODS_COMPARED))
    options.add_argument("--densities", nargs="+", type=float, default=[0.1, 0.2])
    options.add_argument("--stops", nargs="*", type=int, help="epochs at which dense training is stopped")
    options.add_argument("--models", type=int, default=16, help="trained of each method and density, in pairs")
    options.add_argument("--victims", type=int, default=16, help="how many of them are judged: the seeds of the table")
    options.add_argument("--papers", type=int, default=2, help="victims judged by the papers' own protocol too")
    options.add_argument("--cache", type=Path, help="folder that keeps finished models' answers")
    options.add_argument("--plot", type=Path, help="draw leakage against accuracy into this image")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--verbose", action="store_true", help="say how far it is")
    options.add_argument("--judges", nargs="+", default=[], help="attacks of which the strongest judges; else all")
    options.add_argument("--paired", help="a method: print the others' differences from it, model by model, too")
    options.add_argument("--rows", nargs="+", type=Path, help="JSON files of earlier runs, instead of measuring")
    given = options.parse_args()
    if given.rows:
        found = [row for file in given.rows for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    else:
        with tempfile.TemporaryDirectory() as folder:
            sources = [str(given.recipe)] if given.recipe else given.data
            found = [row for data in sources for row in measure(data, given, given.cache or Path(folder))]
    lines = summary(found, given.judges)
    report(lines, None)
    if given.paired:
        report(paired(found, given.paired, given.judges or ("rmia-online", "lira-online")), None)
    written(lines, found, given.json)
    if given.plot:
        plot(lines, given.plot)


if __name__ == "__main__":
    main()
