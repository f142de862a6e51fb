"""Small ONNX files whose cost is known from their sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def stack(tmp_path: Path) -> Callable[[int, int], Path]:
    """stack(width, depth): `depth` products of (width, width) matrices before two classes; 4 · width² · depth bytes."""

    def write(width: int, depth: int) -> Path:
        rng = np.random.default_rng(0)
        weights = {f"w{i}": rng.standard_normal((width, width), dtype=np.float32) / width for i in range(depth)}
        weights["head"] = rng.standard_normal((width, 2), dtype=np.float32)
        names = ["x", *(f"h{i}" for i in range(depth)), "y"]
        nodes = [helper.make_node("MatMul", [names[i], key], [names[i + 1]]) for i, key in enumerate(weights)]
        graph = helper.make_graph(
            nodes,
            "stack",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            [numpy_helper.from_array(value, key) for key, value in weights.items()],
        )
        path = tmp_path / f"stack_{width}_{depth}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
        return path

    return write
