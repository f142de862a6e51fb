"""A plan's files made for real, with random weights: the dense model's, and the sparse one's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from safedeploy.export.targets import FileName, runtime_of
from safedeploy.plan.question import Question
from safedeploy.seeds import numpy_generator

if TYPE_CHECKING:
    from torch import nn

CALIBRATION = 32  # random inputs, from which int8 files get their ranges


def export_files(
    module: "nn.Module",
    question: Question,
    folder: Path,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[FileName, Path]:
    """The files of the question into `folder`, as `safedeploy export` writes them, float32 weights not rounded.

    Raises UserError where an exporter cannot take the module or is not installed.
    """
    from safedeploy.export import executorch, onnx, onnx_int8
    from safedeploy.export.encoding.encode import encode

    if any(runtime_of(name) == "executorch" for name in question.files):
        executorch.require_executorch()
    folder.mkdir(parents=True)
    shape, name, target = question.input_shape, question.model, question.target
    x = numpy_generator(0, "plan", "calibration").standard_normal((CALIBRATION, *shape), dtype=np.float32)
    paths = {file: folder / file for file in question.files}
    float32 = folder / "model.onnx"  # the int8 one is made from it
    if {"model.onnx", "model.int8.onnx"} & set(paths):
        onnx.export_onnx(module, shape, float32, opset=target.opset, model_name=name)
    for done, (file, path) in enumerate(paths.items()):
        match file:
            case "model.int8.onnx":
                onnx_int8.quantise_onnx(float32, path, x, target.quantisation)
            case "model.pte":
                executorch.export_pte(module, shape, path, model_name=name)
            case "model.int8.pte":
                executorch.export_int8_pte(module, shape, path, x, target.quantisation, model_name=name)
        progress((done + 1) / len(paths))
    if target.encoding.sparse:
        for file, path in paths.items():
            if runtime_of(file) == "onnxruntime":
                encode(path, path)
    return paths
