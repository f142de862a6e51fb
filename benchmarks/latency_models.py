"""The trained models that benchmarks/latency.py times: one dense model a network, and what fine-tuning makes of it.

Everything trained is kept in a cache folder, and taken from there the next time.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import nn

from safedeploy.data.dataset import preprocess
from safedeploy.data.load import load_dataset
from safedeploy.models.zoo import build_model
from safedeploy.recipe import DataRecipe, TrainingRecipe
from safedeploy.rundir import write_bytes
from safedeploy.training.hooks import Hooks
from safedeploy.training.run import run_training

SEED = 0
TESTED = 2000  # of the official test images
CALIBRATION = 512  # of the training images
RATE, FINE_RATE = 0.05, 0.01  # learning rates that training and fine-tuning begin with


@dataclass(frozen=True)
class Setting:
    """side: of the square images, padded from 28. images, epochs: of the dense training; fine_epochs: after pruning.

    density: share of prunable weights that pruning leaves.
    """

    side: int
    images: int
    epochs: int
    fine_epochs: int
    density: float
    precision: Literal["float32", "bfloat16"] = "float32"


SETTINGS = {
    "lenet5": Setting(side=28, images=20_000, epochs=10, fine_epochs=6, density=0.6),
    "mobilenet_v2": Setting(side=32, images=4_000, epochs=5, fine_epochs=6, density=0.25),
    "resnet18": Setting(side=32, images=5_000, epochs=5, fine_epochs=2, density=0.3, precision="bfloat16"),
}

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs (n, 1, side, side) float32, preprocessed, with labels (n,)."""

    train: Arrays
    test: Arrays
    class_names: tuple[str, ...]

    @property
    def calibration(self) -> NDArray[np.float32]:
        return self.train[0][:CALIBRATION]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.train[0].shape[1:]


def load_data(setting: Setting, root: str | None) -> Data:
    """Fashion-MNIST: training images drawn by seed, the first official test images."""
    dataset = load_dataset(DataRecipe(source="fashion-mnist", root=root))
    assert dataset.official_test is not None
    assert dataset.preprocessing is not None
    chosen = np.random.default_rng(SEED).permutation(np.flatnonzero(~dataset.official_test))[: setting.images]
    edge = (setting.side - dataset.x.shape[-1]) // 2

    def arrays(index: NDArray[np.int64]) -> Arrays:
        x = np.pad(dataset.x[index], ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        return preprocess(x, dataset.preprocessing), dataset.y[index]

    return Data(arrays(chosen), arrays(np.flatnonzero(dataset.official_test)[:TESTED]), dataset.class_names)


def dense_model(name: str, data: Data, cache: Path) -> nn.Module:
    """The network trained dense: every variant begins with these weights."""
    setting = SETTINGS[name]
    module = build_model(name, data.input_shape, len(data.class_names), SEED)
    return trained(module, Hooks(), data, cache / name / "dense", setting, setting.epochs, RATE)


def fine_tuned(name: str, module: nn.Module, hooks: Hooks, data: Data, place: Path) -> nn.Module:
    """A copy of `module` trained on for the network's fine-tuning budget, the same for every variant."""
    setting = SETTINGS[name]
    return trained(copy.deepcopy(module), hooks, data, place, setting, setting.fine_epochs, FINE_RATE)


def trained(
    module: nn.Module, hooks: Hooks, data: Data, place: Path, setting: Setting, epochs: int, rate: float
) -> nn.Module:
    """`module` with the weights in `place`, trained there first if they are not."""
    weights = place / "model.safetensors"
    if not weights.is_file():
        recipe = TrainingRecipe(
            epochs=epochs, batch_size=32, learning_rate=rate, precision=setting.precision, checkpoint_seconds=60
        )
        run_training(
            module,
            tensors(data.train),
            tensors(data.test),
            hooks,
            recipe,
            SEED,
            metrics=place / "metrics.jsonl",
            checkpoints=place / "checkpoints",
            progress=said(str(place), epochs),
        )
        write_bytes(weights, save({key: value.contiguous() for key, value in module.state_dict().items()}))
    module.load_state_dict(load_file(weights))
    return module.eval()


def tensors(arrays: Arrays) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def said(what: str, epochs: int) -> Callable[[float], None]:
    """Prints once an epoch."""
    told = 0

    def tell(fraction: float) -> None:
        nonlocal told
        if (epoch := int(fraction * epochs + 1e-9)) > told:
            told = epoch
            print(f"{what}: epoch {epoch} of {epochs}", flush=True)

    return tell
