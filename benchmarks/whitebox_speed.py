"""What per-sample gradient norms of every layer cost: one batched pass against a backward pass a sample, alternating.

python -m benchmarks.whitebox_speed --models mlp lenet5 --json F
"""

import time
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.common import parser, report
from safedeploy.artifacts.inner import InnerReader, in_parts, weighted
from safedeploy.models.zoo import build_model

# input shape, classes, samples of the batched pass, samples gone through one by one
SETTINGS: dict[str, tuple[tuple[int, ...], int, int, int]] = {
    "mlp": ((446,), 30, 2048, 128),
    "lenet5": ((1, 28, 28), 10, 1024, 64),
    "alexnet": ((3, 32, 32), 10, 256, 32),
    "mobilenet_v2": ((3, 32, 32), 10, 64, 16),
    "resnet18": ((3, 32, 32), 10, 32, 8),
}


def one_by_one(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray[Any, Any]:
    """The same norms (n, L) from a forward and a backward pass a sample."""
    layers = list(weighted(model).values())
    norms = np.zeros((len(x), len(layers)))
    for row in range(len(x)):
        model.zero_grad(set_to_none=True)
        functional.cross_entropy(model(x[row : row + 1]), y[row : row + 1]).backward()
        for number, layer in enumerate(layers):
            parts = [part.grad.square().sum() for part in layer.parameters(recurse=False) if part.grad is not None]
            norms[row, number] = float(torch.stack(parts).sum().sqrt())
    return norms


def measure(name: str, repeats: int, batch: int) -> dict[str, object]:
    shape, classes, many, few = SETTINGS[name]
    generator = torch.Generator().manual_seed(0)
    model = build_model(name, shape, classes, 0)
    with torch.no_grad():
        model(torch.randn(32, *shape, generator=generator))
    model.eval()
    x, y = torch.randn(many, *shape, generator=generator), torch.randint(classes, (many,), generator=generator)
    reader = InnerReader(model, x[:3].numpy())
    ghost, single, ratios = [], [], []
    for _ in range(repeats + 1):  # the first is not counted
        start = time.perf_counter()
        inner = in_parts(reader, x.numpy(), y.numpy(), batch)
        middle = time.perf_counter()
        norms = one_by_one(model, x[:few], y[:few])
        end = time.perf_counter()
        ghost.append((middle - start) / many)
        single.append((end - middle) / few)
        ratios.append(single[-1] / ghost[-1])
    order = [list(weighted(model)).index(layer) for layer in inner.layers]
    error = np.abs(inner.gradient_norms[:few] / norms[:, order] - 1).max()
    return {
        "model": name,
        "layers": len(inner.layers),
        "batched_microseconds": 1e6 * median(ghost[1:]),
        "one_by_one_microseconds": 1e6 * median(single[1:]),
        "ratio": median(ratios[1:]),
        "lowest": min(ratios[1:]),
        "highest": max(ratios[1:]),
        "largest_relative_error": float(error),
        "batch": batch,
        "repeats": repeats,
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--batch", type=int, default=256)
    given = options.parse_args()
    report([measure(name, given.repeats, given.batch) for name in given.models], given.json)


if __name__ == "__main__":
    main()
