"""What the safety test costs: SafeCompress against SET, all else equal, alternating in one process, in CPU time.

python -m benchmarks.selection_cost --data digits location30 --data-root DIR --testers both rmia --repeats 3
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.common import parser, report
from safedeploy.compose import make_recipe
from safedeploy.compression import prepared
from safedeploy.data.samples import Samples
from safedeploy.recipe import Recipe
from safedeploy.training.run import run_training

ATTACKERS = ("black", "white", "both")


def seconds(wanted: Recipe) -> tuple[float, int]:
    """CPU time of the training alone, references of the safety test included, and how many tests there were."""

    def tensors(part: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(part.x), torch.from_numpy(part.y)

    examples, module, hooks = prepared(wanted, None)
    parts = tensors(examples.training()), tensors(examples.samples("validation"))
    with tempfile.TemporaryDirectory() as folder:
        log, checkpoints = Path(folder) / "metrics.jsonl", Path(folder) / "checkpoints"
        before = time.process_time()
        run_training(module, *parts, hooks, wanted.training, wanted.seed, metrics=log, checkpoints=checkpoints)
        spent = time.process_time() - before
        tests = log.read_text(encoding="utf-8").count('"chosen": true')
    return spent, tests


def method(testers: str) -> dict[str, Any]:
    """--attacker, or --option testers=."""
    chosen = {"attacker": testers} if testers in ATTACKERS else {"options": {"testers": testers.split("+")}}
    return {"method": "safecompress", **chosen}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--testers", nargs="+", default=["both"], help="black, white, both, or names joined by +")
    options.add_argument("--epochs", type=int)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="auto")
    given = options.parse_args()
    rows = []
    for data in given.data:
        for testers in given.testers:
            same = {"data": data, "data_root": given.data_root, "epochs": given.epochs, "device": given.device}
            for one in ({"method": "set"}, method(testers)):  # not counted: what is imported once a process
                seconds(make_recipe(**same | {"epochs": 1}, **one))
            pairs, tests = [], 0
            for _ in range(given.repeats):
                baseline, _ = seconds(make_recipe(**same, method="set"))
                ours, tests = seconds(make_recipe(**same, **method(testers)))
                pairs.append((ours, baseline))
            ratios = [ours / baseline for ours, baseline in pairs]
            rows.append(
                {
                    "data": data,
                    "testers": testers,
                    "tests": tests,
                    "set_cpu_seconds": median(baseline for _, baseline in pairs),
                    "safecompress_cpu_seconds": median(ours for ours, _ in pairs),
                    "ratio": median(ratios),
                    "lowest": min(ratios),
                    "highest": max(ratios),
                    "repeats": given.repeats,
                }
            )
    report(rows, given.json)


if __name__ == "__main__":
    main()
