"""What a number of channels costs in each runtime: one inverted-residual stack at several widths, timed in turns.

python -m benchmarks.channel_steps --widths 40 41 42 44 46 48 --json F
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.common import parser, report
from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import Rules, measure, ratio
from safedeploy.export import executorch, onnx, onnx_int8
from safedeploy.export.targets import load_target

SHAPE = (3, 16, 16)
FILES = ("model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte")


def stack(width: int) -> nn.Module:
    """Three times a pointwise, a depthwise and a 3 × 3 convolution of `width` channels, with ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(SHAPE[0], width, 3, padding=1)]
    for _ in range(3):
        layers += [nn.ReLU(), nn.Conv2d(width, width, 1)]
        layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, groups=width)]
        layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()


def exported(width: int, folder: Path) -> None:
    how, module = load_target("android").quantisation, stack(width)
    calibration = np.random.default_rng(0).standard_normal((64, *SHAPE), dtype=np.float32)
    folder.mkdir()
    onnx.export_onnx(module, SHAPE, folder / FILES[0], opset=20, model_name="stack")
    onnx_int8.quantise_onnx(folder / FILES[0], folder / FILES[1], calibration, how)
    executorch.export_pte(module, SHAPE, folder / FILES[2], model_name="stack")
    executorch.export_int8_pte(module, SHAPE, folder / FILES[3], calibration, how, model_name="stack")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--widths", nargs="+", type=int, default=[40, 41, 42, 44, 46, 48])
    options.add_argument("--seconds", type=float, default=3.0, help="inside queries, for each file")
    given = options.parse_args()
    torch.manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(width) for width in given.widths]
        for width, folder in zip(given.widths, folders, strict=True):
            exported(width, folder)
        for file in FILES:
            paths = [folder / file for folder in folders]
            timed = measure(
                paths, Rules(queries=64, seconds=given.seconds, block_seconds=0.2), threads=1, device=Local()
            )
            for width, one in zip(given.widths, timed, strict=True):
                beside = ratio(timed[-1], one, "")
                rows.append(
                    {
                        "file": file,
                        "width": width,
                        "p50_ms": float(np.median(one.latencies)) / 1e6,
                        f"ratio_to_{given.widths[-1]}": beside.median,
                        "low": beside.low,
                        "high": beside.high,
                    }
                )
    report(rows, given.json)


if __name__ == "__main__":
    main()
