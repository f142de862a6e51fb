"""How few weights keep the dense test accuracy within a point, method by method: the data set's own recipe and split.

python -m benchmarks.smallest_density --data location30 digits fashion-mnist --data-root DIR --json F
python -m benchmarks.smallest_density --data fashion-mnist --methods magnitude:prune_from=0 --densities 0.05 --seeds 0 1

A method is written as in pareto.py.
Every model trains as long as the dense one of its seed, on the same members. accuracy: of the exported, encoded file in
ONNX Runtime on the role `test`, mean over seeds; loss: dense's less that, in points, and the standard error of the
mean difference. smallest: the least density measured at which the mean loss is at most a point.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.common import parser, report
from benchmarks.pareto import recipe_of
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.compose import make_recipe
from safedeploy.compression import Examples, fresh
from safedeploy.data.load import load_dataset
from safedeploy.data.split import MEMBERS, draw_split
from safedeploy.export.encoding.encode import encode
from safedeploy.export.onnx import export_onnx
from safedeploy.export.targets import load_target
from safedeploy.recipe import Recipe
from safedeploy.training.many import train_many

POINT = 0.01


def accuracy(module: nn.Module, recipe: Recipe, examples: Examples) -> tuple[float, int]:
    """Of the file that ships, and its bytes."""
    test = examples.samples("test")
    with tempfile.TemporaryDirectory() as folder:
        plain, shipped = Path(folder) / "plain.onnx", Path(folder) / "model.onnx"
        export_onnx(module, test.x.shape[1:], plain, opset=load_target(recipe.target).opset, model_name="model")
        encode(plain, shipped)
        right = OnnxArtifact(shipped, threads=1).logits(test.x).argmax(axis=1) == test.y
        return float(right.mean()), shipped.stat().st_size


def trained(recipes: list[Recipe], examples: Examples) -> list[nn.Module]:
    """Models of one method and density, a seed each."""
    members = examples.samples(*MEMBERS)
    modules, hooks = zip(*(fresh(recipe, examples) for recipe in recipes), strict=True)
    rows: list[NDArray[np.int64]] = [np.arange(len(members.y))] * len(recipes)
    pool = torch.from_numpy(members.x), torch.from_numpy(members.y)
    return train_many(modules, pool, rows, hooks, recipes[0].training, [recipe.seed for recipe in recipes])


def measure(data: str, given: Any) -> list[dict[str, Any]]:
    base = make_recipe(data=data, data_root=given.data_root, method="dense")
    loaded = load_dataset(base.data)
    split = draw_split(loaded.y, loaded.official_test, base.split, base.seed, loaded.fingerprint, loaded.class_names)
    examples = Examples(loaded, split)

    def of(method: str, density: float) -> tuple[NDArray[np.float64], int]:
        recipes = [recipe_of(base, method, density).model_copy(update={"seed": seed}) for seed in given.seeds]
        found = [
            accuracy(module, recipe, examples)
            for module, recipe in zip(trained(recipes, examples), recipes, strict=True)
        ]
        return np.array([right for right, _ in found]), found[0][1]

    dense, size = of("dense", 1.0)
    rows = [_row(data, base.model.name, "dense", 1.0, dense, dense, size)]
    for method in given.methods:
        kept = []
        for density in given.densities:
            right, size = of(method, density)
            kept.append(_row(data, base.model.name, method, density, right, dense, size))
        within = [row["density"] for row in kept if row["loss"] <= 100 * POINT]
        rows += [row | {"smallest": "yes" if within and row["density"] == min(within) else ""} for row in kept]
    return rows


def _row(
    data: str,
    model: str,
    method: str,
    density: float,
    right: NDArray[np.float64],
    dense: NDArray[np.float64],
    size: int,
) -> dict[str, Any]:
    lost = 100 * (dense - right)
    error = float(lost.std(ddof=1) / len(lost) ** 0.5) if len(lost) > 1 else float("nan")
    return {
        "data": data,
        "model": model,
        "method": method,
        "density": density,
        "accuracy": float(right.mean()),
        "loss": float(lost.mean()),
        "standard_error": error,
        "bytes": size,
        "smallest": "",
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--methods", nargs="+", default=["magnitude", "magnitude:prune_from=0", "rigl"])
    options.add_argument("--densities", nargs="+", type=float, default=[0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = options.parse_args()
    report([row for data in given.data for row in measure(data, given)], given.json)


if __name__ == "__main__":
    main()
