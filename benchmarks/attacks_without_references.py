"""Attacks that need no reference models, on one overfitted victim's ONNX file: strength and CPU-seconds of each.

python -m benchmarks.attacks_without_references --data location30 --data-root DIR
"""

import tempfile
import time
from pathlib import Path

from benchmarks.common import parser, report
from safedeploy import pipeline
from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Attack
from safedeploy.compose import make_recipe
from safedeploy.recipe import SplitRecipe
from safedeploy.roc import auc, tpr_at_fpr

THRESHOLDS = ("loss", "loss_by_class", "confidence", "entropy", "modified_entropy", "margin", "margin_by_class")
FITTED = ("boosted", "quantile", "noise_averaged", "augment_averaged", "neural_black", "samia")
LABEL_ONLY = ("label_only_noise", "label_only_augment", "boundary_distance")
FUNCTIONS = [*(f"threshold:{name}" for name in THRESHOLDS), *(f"{name}:score" for name in (*FITTED, *LABEL_ONLY))]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", default="location30")
    options.add_argument("--file", default="model.onnx", choices=["model.onnx", "model.int8.onnx"])
    options.add_argument("--epochs", type=int, default=60)
    options.add_argument("--known", type=int, help="samples the attacker knows a side, and as many judged")
    given = options.parse_args()
    recipe = make_recipe(data=given.data, data_root=given.data_root, method="dense", epochs=given.epochs, device="cpu")
    if given.known:
        share = given.known / 60_000  # of the 60,000 images outside an official test set
        recipe = recipe.model_copy(update={"split": SplitRecipe(known=share, evaluation=share)})
    with tempfile.TemporaryDirectory() as runs:
        run = pipeline.compress(recipe, Path(runs))
        pipeline.export(run.root)
        exam = pipeline.exam_of_run(run)
        rows = []
        for function in FUNCTIONS:
            artifact = remember(OnnxArtifact(run.bundle(recipe.target) / given.file))
            module, name = function.split(":")
            attack = Attack(module if name == "score" else name, "black", f"safedeploy.attacks.membership.{function}")
            before = time.process_time()
            try:
                values = attack.score(artifact, exam.knowledge, exam.targets).values
            except Unopenable:  # shifts of a table
                continue
            spent = time.process_time() - before
            inside, outside = values[: len(exam.members.y)], values[len(exam.members.y) :]
            at_1, at_01 = (tpr_at_fpr(inside, outside, fpr) for fpr in (0.01, 0.001))
            rows.append(
                {
                    "data": given.data,
                    "attack": attack.name,
                    "auc": auc(inside, outside),
                    "tpr_1": at_1.tpr,
                    "tpr_01": at_01.tpr,
                    "null_1": at_1.null_high,
                    "null_01": at_01.null_high,
                    "cpu_seconds": spent,
                }
            )
    report(rows, given.json)


if __name__ == "__main__":
    main()
