"""What the black and the white box of an ONNX file share: a session, and the runtime's errors in one line."""

import re
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from safedeploy.errors import UserError

# operators that hand a tensor's values on, up to rounding
VALUE_KEEPERS = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Squeeze"}


def open_session(model: str | bytes, path: Path, threads: int | None) -> Any:
    """An ONNX Runtime session on the CPU; `path` is what the UserError names."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # a second attempt that prints
        )
    except Exception as error:  # the runtime's exceptions have no common base of their own
        reason = one_line(error)
        advice = "export it with opset 20" if "opset" in reason.lower() else "export it again or update onnxruntime"
        raise UserError(f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}; {advice}") from None


def optimised(path: Path, to: Path) -> onnx.ModelProto:
    """The graph that ONNX Runtime runs in the place of the file's; `to` is where it may write it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(to)
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
        return onnx.load(str(to))
    except Exception as error:  # the runtime's exceptions have no common base of their own
        raise UserError(f"{path}: ONNX Runtime cannot write its optimised graph: {one_line(error)}") from None


def one_line(error: Exception) -> str:
    """The runtime's message without its prefix, on one line of bounded length."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= 240 else text[:237] + "..."
