"""What `inspect` says of a file is what was put into it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from safedeploy.artifacts.inspect import inspect


def test_a_hand_made_classifier_is_told_tensor_by_tensor(tmp_path):
    weight = np.zeros((6, 3), dtype=np.float32)
    weight[0, 0] = weight[4, 2] = 1.0
    bias = np.ones(3, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "weight", "bias"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    found = inspect(path)
    assert (found.input_shape, found.classes, found.white_box) == ([6], 3, "")
    assert found.operators == {"Gemm": 1}
    told = {one.name: (one.dtype, one.shape, one.nonzero, one.size_bytes) for one in found.tensors}
    assert told == {"weight": ("float32", [6, 3], 2, 72), "bias": ("float32", [3], 3, 12)}
    assert found.tensors[0].density == 2 / 18
    assert found.artifact.size_bytes == path.stat().st_size
