"""What other tools make of the same dense model: torch-pruning and NNCF, each with its own quantisation."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.latency_models import Data, fine_tuned
from safedeploy.export.onnx import INPUT, export_onnx
from safedeploy.models.zoo import build_model
from safedeploy.sparsity.masks import prunable
from safedeploy.training.hooks import Hooks

OPSET = 20
BATCH = 64
ROUND_TO = 8  # torch-pruning's own advice for speed


def torch_pruning(name: str, dense: nn.Module, density: float, data: Data, place: Path) -> Path:
    """Channels removed by group magnitude over the whole network, fine-tuned, ONNX Runtime's own static int8."""
    smaller = _cut(dense, density, data.input_shape)
    tuned = fine_tuned(name, smaller, Hooks(), data, place)
    return ort_int8(name, tuned, data, place / "model.int8.onnx")


def nncf_pruned(name: str, dense: nn.Module, density: float, data: Data, place: Path) -> Path:
    """Weights masked by magnitude over the whole network, all that NNCF 3 has, fine-tuned, and NNCF's own int8."""
    import nncf

    masked = nncf.prune(
        Whole(copy.deepcopy(dense)),
        mode=nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL,
        ratio=1 - density,
        examples_inputs=torch.zeros(1, *data.input_shape),
    )
    tuned = fine_tuned(name, masked, Hooks(), data, place)
    bare = nncf.strip(tuned, strip_format=nncf.StripFormat.IN_PLACE, example_input=torch.zeros(1, *data.input_shape))
    plain = build_model(name, data.input_shape, len(data.class_names), 0)
    plain.load_state_dict({key: bare.state_dict()[f"network.{key}"] for key in plain.state_dict()})
    path = place / "model.int8.onnx"
    if not path.exists():
        export_onnx(plain.eval(), data.input_shape, place / "model.onnx", opset=OPSET, model_name=name)
        batches = np.array_split(data.calibration, len(data.calibration) // BATCH)
        given = nncf.Dataset(batches, lambda batch: {INPUT: batch})
        onnx.save(nncf.quantize(onnx.load(place / "model.onnx"), given, subset_size=len(batches)), path)
    return path


class Whole(nn.Module):
    """NNCF keeps its masks in a child of the module, which an nn.Sequential would call as a layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.network(x)
        return answers


def ort_int8(name: str, module: nn.Module, data: Data, path: Path) -> Path:
    """ONNX Runtime's own steps: pre-processing, then static int8, QDQ, per channel, uint8 activations."""
    from onnxruntime import quantization as ort

    class Batches(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(np.array_split(data.calibration, len(data.calibration) // BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
            export_onnx(module.eval(), data.input_shape, plain, opset=OPSET, model_name=name)
            ort.shape_inference.quant_pre_process(str(plain), str(prepared))
            ort.quantize_static(
                prepared,
                path,
                Batches(),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
            )
    return path


def _cut(dense: nn.Module, density: float, input_shape: tuple[int, ...]) -> nn.Module:
    """The least pruning, in hundredths of the channels, that leaves at most `density` of the prunable weights."""
    import torch_pruning as tp

    everything = sum(weight.numel() for weight in prunable(dense).values())
    for hundredths in range(1, 100):
        smaller = copy.deepcopy(dense).requires_grad_(True)
        classifier = [layer for layer in smaller.modules() if isinstance(layer, nn.Linear)][-1]
        pruner = tp.pruner.BasePruner(
            smaller,
            torch.zeros(1, *input_shape),
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=hundredths / 100,
            max_pruning_ratio=0.9,
            global_pruning=True,
            round_to=ROUND_TO,
            ignored_layers=[classifier],
        )
        pruner.step()
        if sum(weight.numel() for weight in prunable(smaller).values()) <= density * everything:
            return smaller
    raise SystemExit(f"torch-pruning cannot reach density {density:g}")
