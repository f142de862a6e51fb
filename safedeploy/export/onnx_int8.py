"""A float32 ONNX file as static int8: ONNX Runtime's quantiser, in QDQ form, ranges from calibration inputs."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from safedeploy.errors import UserError
from safedeploy.export.onnx import INPUT, save
from safedeploy.export.quiet import quiet
from safedeploy.export.targets import Quantisation
from safedeploy.export.trace import reason
from safedeploy.export.weight_scales import weight_scales

BATCH = 64

# A pruned-away channel, all zeros, would get the scale 1, and its bias, in steps of input scale · 1, would round away.
SMALLEST_RANGE = 1e-4

# Of a network that reads tokens: what holds its weights. Rounded, the scores of places that are not seen, −10⁴, would
# leave all others one step; layer norms and GELU lose more than they save.
TEXT_OPERATORS = ["MatMul", "Gemm", "Gather"]


def quantise_onnx(source: Path, path: Path, calibration: NDArray[np.float32], how: Quantisation) -> None:
    """Write the int8 form of the file `source` to `path`; `calibration` is (n, *input_shape), preprocessed.

    Weights are symmetric, so a weight of zero stays exactly zero.
    """
    from onnxruntime import quantization as ort

    model = onnx.shape_inference.infer_shapes(onnx.load(source), strict_mode=True, data_prop=True)
    tokens = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64

    class Batches(ort.CalibrationDataReader):  # type: ignore[misc]  # the quantiser wants an instance of its own class
        def __init__(self) -> None:
            inputs = calibration.astype(np.int64) if tokens else calibration
            self.batches = iter(np.array_split(inputs, -(-len(calibration) // BATCH)))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    methods = {
        "minmax": ort.CalibrationMethod.MinMax,
        "entropy": ort.CalibrationMethod.Entropy,
        "percentile": ort.CalibrationMethod.Percentile,
    }
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            written = Path(folder) / "int8.onnx"
            scales = weight_scales(model, SMALLEST_RANGE) if how.per_channel else {}
            ort.quantize_static(
                model,
                written,
                Batches(),
                op_types_to_quantize=TEXT_OPERATORS if tokens else None,
                quant_format=ort.QuantFormat.QDQ,
                per_channel=how.per_channel,
                activation_type=ort.QuantType.QInt8 if how.activation == "int8" else ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
                calibrate_method=methods[how.calibration],
                extra_options={"MinimumRealRange": SMALLEST_RANGE, "TensorQuantOverrides": scales},
            )
            save(onnx.load(written), path)
    except UserError:
        raise
    except Exception as error:  # the quantiser's exceptions have no common base
        raise UserError(f"cannot quantise {source.name} for ONNX Runtime: {reason(error)}") from error
