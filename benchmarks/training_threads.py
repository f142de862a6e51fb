"""What one thread costs a small network on a quiet machine: dense training on one against torch's default, alternating.

python -m benchmarks.training_threads --data fashion-mnist location30 --data-root DIR --epochs 3
"""

import tempfile
from statistics import median
from unittest.mock import patch

from benchmarks.common import parser, report
from safedeploy import pipeline
from safedeploy.compose import make_recipe
from safedeploy.recipe import Recipe
from safedeploy.results import Summary


def seconds(wanted: Recipe, small: int) -> float:
    """Of the training alone; networks below `small` parameters compute on one thread."""
    with tempfile.TemporaryDirectory() as runs, patch("safedeploy.threads.SMALL", small):
        return Summary.read(pipeline.compress(wanted, runs).summary).seconds


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    rows = []
    for data in given.data:
        wanted = make_recipe(data=data, data_root=given.data_root, method="dense", epochs=given.epochs)
        seconds(wanted, 0)  # not counted: what is imported and allocated once a process
        pairs = [(seconds(wanted, 10**9), seconds(wanted, 0)) for _ in range(given.repeats)]
        ratios = [one / default for one, default in pairs]
        rows.append(
            {
                "data": data,
                "one_thread_seconds": median(one for one, _ in pairs),
                "default_seconds": median(default for _, default in pairs),
                "ratio": median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "repeats": given.repeats,
            }
        )
    report(rows, given.json)


if __name__ == "__main__":
    main()
