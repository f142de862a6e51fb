"""What training on rounded weights (--quantise) saves of the accuracy that rounding costs, in the files that ship.

LeNet-5, trained dense (the cache of benchmarks/latency.py), cut to a density by magnitude and trained on with and
without --quantise, on the same batches; each is exported both ways. accuracy: of the float32 file before rounding, and
of the file whose weights are rounded (with int8 the activations too), on all 10,000 official test images.

python -m benchmarks.quantised --data-root DIR --cache DIR --values int8 palette4 --seeds 0 1 2 --json F
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common import parser, report
from benchmarks.latency_models import FINE_RATE, SETTINGS, Arrays, Data, dense_model, load_data, tensors
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.data.dataset import preprocess
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import Samples
from safedeploy.export.encoding.rounding import round_file
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import load_target
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import DataRecipe, MethodRecipe, TrainingRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.loop import Training, train

MODEL = "lenet5"
VALUES = ("int8", "palette4", "palette5", "palette6", "palette8")
AT_ONCE = 1e-9  # share of the steps before the cut: the model is trained already


def test_images(root: str | None) -> Arrays:
    dataset = load_dataset(DataRecipe(source="fashion-mnist", root=root))
    assert dataset.official_test is not None
    assert dataset.preprocessing is not None
    return preprocess(dataset.x[dataset.official_test], dataset.preprocessing), dataset.y[dataset.official_test]


def fine_tuned(start: nn.Module, values: str | None, density: float, epochs: int, seed: int, data: Data) -> nn.Module:
    recipe = TrainingRecipe(epochs=epochs, batch_size=32, learning_rate=FINE_RATE, device="cpu")
    asked: dict[str, Any] = {"quantise": values, "quantise_at": 0.5} if values else {}
    known = Samples(*data.train)
    context = Context(density, seed, len(data.class_names), data.input_shape, known, known, known)
    method = MethodRecipe(name="magnitude", density=density, options={"prune_at": AT_ONCE}, **asked)
    hooks, (x, y) = make_method(method, context), tensors(data.train)
    module = copy.deepcopy(start).train()
    accelerator = make_accelerator("cpu", "float32")
    training = Training(module, x, y, recipe, seed, accelerator, hooks, lambda event: None)
    train(training, after_epoch=Training.require_finite)
    return module.eval()


def accuracies(module: nn.Module, values: str, data: Data, test: Arrays) -> tuple[float, float]:
    """Of the float32 file and of the rounded one."""
    with tempfile.TemporaryDirectory() as folder:
        plain, rounded = Path(folder) / "model.onnx", Path(folder) / "rounded.onnx"
        export_onnx(module, data.input_shape, plain, opset=20, model_name=MODEL)
        if values == "int8":
            quantise_onnx(plain, rounded, data.calibration, load_target("android").quantisation)
        else:
            round_file(plain, rounded, values)  # type: ignore[arg-type]
        x, y = test
        answers = [open_artifact(path, threads=1).logits(x).argmax(axis=1) for path in (plain, rounded)]
    return float((answers[0] == y).mean()), float((answers[1] == y).mean())


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--values", nargs="+", choices=VALUES, default=["int8", "palette4"])
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--density", type=float, default=0.05)
    options.add_argument("--epochs", type=int, default=4, help="of training on; the last half of them rounded")
    options.add_argument("--cache", type=Path, default=Path("latency-cache"), help="the dense model's weights")
    given = options.parse_args()
    torch.set_num_threads(1)
    data, test = load_data(SETTINGS[MODEL], given.data_root), test_images(given.data_root)
    start, rows = dense_model(MODEL, data, given.cache), []
    for seed in given.seeds:
        exact = fine_tuned(start, None, given.density, given.epochs, seed, data)
        for values in given.values:
            rounded = fine_tuned(start, values, given.density, given.epochs, seed, data)
            for weights, module in (("exact", exact), ("rounded", rounded)):
                plain, shipped = accuracies(module, values, data, test)
                rows.append(
                    {
                        "data": "fashion-mnist",
                        "model": MODEL,
                        "method": "magnitude",
                        "density": given.density,
                        "values": values,
                        "trained on": weights,
                        "seed": seed,
                        "accuracy_float32": plain,
                        "accuracy_rounded": shipped,
                    }
                )
                print(rows[-1], flush=True)
    report(rows, given.json)


if __name__ == "__main__":
    main()
