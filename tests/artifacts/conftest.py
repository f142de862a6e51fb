"""Small real models, built once: by hand with onnx.helper, by torch.onnx.export, and lowered to XNNPACK."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Types = dict[str, tuple[int, list[Any]]]
ROWS: Types = {"x": (TensorProto.FLOAT, ["n", 6])}
ANSWERS: Types = {"y": (TensorProto.FLOAT, ["n", 3])}


@pytest.fixture(scope="session")
def convnet() -> Any:
    """A torch classifier of 10 classes on (1, 8, 8) with dropout and batch normalisation, in training mode."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    # named: ExecuTorch 1.4 cannot fuse a batch normalisation whose weight is called "0.weight"
    layers = {
        "conv": nn.Conv2d(1, 4, 3, padding=1),
        "norm": nn.BatchNorm2d(4),
        "relu": nn.ReLU(),
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(256, 16),
        "relu2": nn.ReLU(),
        "dropout": nn.Dropout(0.5),
        "head": nn.Linear(16, 10),
    }
    return nn.Sequential(OrderedDict(layers))


@pytest.fixture(scope="session")
def convnet_onnx(convnet: Any, once: Callable[..., Path]) -> Path:
    import torch

    def make(folder: Path) -> None:
        program = torch.onnx.export(
            convnet.eval(),
            (torch.zeros(2, 1, 8, 8),),
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        convnet.train()
        program.save(folder / "convnet.onnx")

    return once("convnet-onnx", make) / "convnet.onnx"


@pytest.fixture(scope="session")
def convnet_pte(convnet: Any, once: Callable[..., Path]) -> Path:
    """The same model, exported with a batch of 4 and lowered to XNNPACK."""

    def make(folder: Path) -> None:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        exported = torch.export.export(convnet.eval(), (torch.zeros(4, 1, 8, 8),))
        convnet.train()
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
        (folder / "convnet.pte").write_bytes(program.buffer)

    return once("convnet-pte", make) / "convnet.pte"


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX graph of `nodes`; the default types and shapes are those of a small classifier."""

    def write(
        nodes: list[onnx.NodeProto],
        weights: dict[str, np.ndarray[Any, Any]] | None = None,
        *,
        inputs: Types = ROWS,
        outputs: Types = ANSWERS,
        opset: int = 20,
        name: str = "model.onnx",
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "hand_made",
            [helper.make_tensor_value_info(key, *value) for key, value in inputs.items()],
            [helper.make_tensor_value_info(key, *value) for key, value in outputs.items()],
            [numpy_helper.from_array(value, key) for key, value in (weights or {}).items()],
        )
        path = tmp_path / name
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
        return path

    return write


@pytest.fixture
def linear(build: Callable[..., Path]) -> SimpleNamespace:
    """y = relu(x @ a) @ w + b, with its values."""
    rng = np.random.default_rng(0)
    a, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, 5), (5, 3), (3,)))
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["y"]),
    ]
    return SimpleNamespace(nodes=nodes, weights={"a": a, "w": w, "b": b}, a=a, w=w, b=b)
