"""The dense files that `benchmarks.size` encodes: sparse models with trained-like statistics, exported and kept."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.seeds import numpy_generator, torch_generator

if TYPE_CHECKING:
    import torch

INPUT_SHAPE, CLASSES = (3, 32, 32), 10
CALIBRATION = 32  # inputs; they set activations' ranges, which no size depends on


@dataclass(frozen=True)
class Dense:
    """Files of one sparse model with all zeros stored. `pte`: None where it was not asked for."""

    float32: Path
    int8: Path
    pte: Path | None


def inputs(count: int, seed: int) -> NDArray[np.float32]:
    return numpy_generator(seed, "size", "inputs").standard_normal((count, *INPUT_SHAPE), dtype=np.float32)


def dense_files(model: str, density: float, seed: int, cache: Path, *, pte: bool) -> Dense:
    """The model's files in `cache`, made by safedeploy's own exporters where they are not there yet."""
    from safedeploy.export.executorch import export_int8_pte
    from safedeploy.export.onnx import export_onnx
    from safedeploy.export.onnx_int8 import quantise_onnx
    from safedeploy.export.targets import load_target

    folder = cache / f"{model}-{density:g}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    files = Dense(folder / "model.onnx", folder / "model.int8.onnx", folder / "model.int8.pte" if pte else None)
    wanted = [path for path in (files.float32, files.int8, files.pte) if path is not None]
    if all(path.exists() for path in wanted):
        return files
    target = load_target("android")
    module = sparse_model(model, density, seed)
    calibration = inputs(CALIBRATION, seed)
    if not files.float32.exists():
        export_onnx(module, INPUT_SHAPE, files.float32, opset=target.opset, model_name=model)
    if not files.int8.exists():
        quantise_onnx(files.float32, files.int8, calibration, target.quantisation)
    if files.pte is not None and not files.pte.exists():
        export_int8_pte(module, INPUT_SHAPE, files.pte, calibration, target.quantisation, model_name=model)
    return files


def sparse_model(model: str, density: float, seed: int) -> "torch.nn.Module":
    """He-normal weights, the largest kept by ERK budgets, each layer then scaled back to He's variance over its fan-in.

    Batch norms, as after training: scale near 1, shift and mean near 0, variance near 1, all different. Size figures
    depend on the number of zeros and their places, not on the task; magnitudes keep the tail of a normal law, as
    pruning by magnitude does.
    """
    import torch
    from torch import nn

    from safedeploy.models.zoo import build_model
    from safedeploy.sparsity.budget import erk
    from safedeploy.sparsity.masks import largest_masks, prunable, shapes

    module = build_model(model, INPUT_SHAPE, CLASSES, seed)
    generator = torch_generator(seed, "size", model, "weights")
    with torch.no_grad():
        weights = prunable(module)
        for weight in weights.values():
            weight.normal_(generator=generator)
        masks = largest_masks(module, erk(shapes(module), density))
        for name, weight in weights.items():
            weight.mul_(masks[name])
            weight.mul_(math.sqrt(2 / weight[0].numel()) / weight.square().mean().sqrt())
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
                layer.weight.uniform_(0.7, 1.3, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)
    return module.eval()
