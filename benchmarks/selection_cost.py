"""What the safety test costs: SafeCompress against SET, all else equal, alternating in one process.

python -m benchmarks.selection_cost --data fashion-mnist --data-root DIR --epochs 10 --repeats 3
"""

import tempfile
from pathlib import Path
from statistics import median

from benchmarks.common import parser, report
from safedeploy import pipeline
from safedeploy.compose import make_recipe
from safedeploy.recipe import Recipe
from safedeploy.results import Summary


def seconds(wanted: Recipe) -> float:
    """Of the training alone: data are loaded and the model is built before the clock starts."""
    with tempfile.TemporaryDirectory() as runs:
        return Summary.read(pipeline.compress(wanted, Path(runs)).summary).seconds


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--attacker", nargs="+", default=["both"], choices=["black", "white", "both"])
    options.add_argument("--epochs", type=int)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="auto")
    given = options.parse_args()
    rows = []
    for data in given.data:
        for attacker in given.attacker:
            same = {"data": data, "data_root": given.data_root, "epochs": given.epochs, "device": given.device}
            for method in ("set", "safecompress"):  # not counted: what is imported and allocated once a process
                seconds(make_recipe(**same | {"epochs": 1}, method=method))
            pairs = []
            for _ in range(given.repeats):
                baseline = seconds(make_recipe(**same, method="set"))
                ours = seconds(make_recipe(**same, method="safecompress", attacker=attacker))
                pairs.append((ours, baseline))
            ratios = [ours / baseline for ours, baseline in pairs]
            rows.append(
                {
                    "data": data,
                    "attacker": attacker,
                    "set_seconds": median(baseline for _, baseline in pairs),
                    "safecompress_seconds": median(ours for ours, _ in pairs),
                    "ratio": median(ratios),
                    "lowest": min(ratios),
                    "highest": max(ratios),
                    "repeats": given.repeats,
                }
            )
    report(rows, given.json)


if __name__ == "__main__":
    main()
