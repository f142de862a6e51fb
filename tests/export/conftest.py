"""A tiny trained convolutional classifier, and one bundle of it that many tests look at."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from safedeploy.export.bundle import export_bundle
from safedeploy.export.targets import Target, load_target
from safedeploy.results import Manifest, Preprocessing

SHAPE, CLASSES = (1, 8, 8), 4
PREPROCESSING = Preprocessing(raw="uint8 pixels", scale=1 / 255, mean=[0.5], std=[0.25])


class TinyNet(nn.Module):
    """What the traps are about: batch norm to fold, both poolings, dropout, a branch that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2))
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.pool = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.3))
        self.last = nn.Linear(24, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(self.pool(x + self.second(x)).flatten(1))


@dataclass(frozen=True)
class Trained:
    module: nn.Module
    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return self.module.eval()(torch.from_numpy(x)).numpy()


@pytest.fixture(scope="session")
def trained() -> Trained:
    """Four noisy patterns, learnt with four of five weights of a convolution held at zero, as in a sparse model."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, 240)
    patterns = generator.normal(size=(CLASSES, *SHAPE))
    x = (patterns[y] + 0.5 * generator.normal(size=(240, *SHAPE))).astype(np.float32)
    module = TinyNet()
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    weight = module.second[0].weight
    dropped = torch.rand(weight.shape) < 0.8
    for _ in range(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimiser.step()
        weight.data[dropped] = 0
    return Trained(module.eval(), x, y)


@dataclass(frozen=True)
class Exported:
    folder: Path
    manifest: Manifest
    target: Target
    told: list[float]  # its progress
    said: str  # on standard output and error


@contextlib.contextmanager
def heard(path: Path) -> Iterator[None]:
    """What Python and what is beneath it write to standard output and error goes to `path`, as with capfd."""
    with path.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        own = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in own:
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, kept in own:
                os.dup2(kept, number)
                os.close(kept)


@pytest.fixture(scope="session")
def exported(trained: Trained, once) -> Exported:
    target = load_target("android")

    def make(folder: Path) -> None:
        told: list[float] = []
        with heard(folder / "said.txt"):
            export_bundle(
                trained.module,
                folder / "bundle" / "android",
                target,
                model_name="tinynet",
                preprocessing=PREPROCESSING,
                class_names=["a", "b", "c", "d"],
                calibration=trained.x[:64],
                x=trained.x,
                y=trained.y,
                progress=told.append,
            )
        (folder / "told.json").write_text(json.dumps(told))

    made = once("exported", make)
    folder, told = made / "bundle" / "android", json.loads((made / "told.json").read_text())
    return Exported(folder, Manifest.read(folder / "manifest.json"), target, told, (made / "said.txt").read_text())
