"""What `inspect` says of a .pte file is what was exported into it."""

from pathlib import Path
from typing import Any

import numpy as np

from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.inspect import inspect
from safedeploy.artifacts.pte import contents


def test_a_float32_file_is_told_tensor_by_tensor(convnet: Any, convnet_pte: Path) -> None:
    found = inspect(convnet_pte)
    assert (found.input_shape, found.classes, found.white_box) == ([1, 8, 8], 10, "")
    assert found.operators["xnnpack::FullyConnected"] == 2
    assert found.operators["xnnpack::DepthwiseConv2d"] == 1  # one input channel: XNNPACK's name for it
    assert found.tensors is not None
    told = {one.name: (one.dtype, one.shape, one.size_bytes) for one in found.tensors}
    assert told["linear1.weight"] == ("float32", [16, 256], 16 * 256 * 4)
    assert told["conv1.weight"] == ("float32", [1, 3, 3, 4], 3 * 3 * 4 * 4)
    stored = dict(contents.tensors(convnet_pte.read_bytes()))
    np.testing.assert_array_equal(stored["linear2.weight"], convnet.head.weight.detach().numpy())


def test_an_int8_file_shows_its_integers_and_a_sparse_layer_its_density(tmp_path: Path) -> None:
    import torch

    from safedeploy.export.executorch import export_int8_pte
    from safedeploy.export.targets import Quantisation

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    with torch.no_grad():
        module[0].weight[:, ::2] = 0
        module[0].weight[:, 1::2] = torch.sign(module[0].weight[:, 1::2])
    x = torch.randn(32, 16).numpy()
    export_int8_pte(module, (16,), tmp_path / "a.pte", x, Quantisation(), model_name="m")
    found = inspect(tmp_path / "a.pte")
    assert found.tensors is not None
    told = {one.name: one for one in found.tensors}
    assert (told["linear1.weight"].dtype, told["linear1.weight"].density) == ("int8", 0.5)
    assert told["linear1.weight.scale"].shape == [8]
    assert told["linear1.bias"].dtype == "int32"
    assert ExecuTorchArtifact(tmp_path / "a.pte").quantised


def test_kernels_outside_the_delegate_are_listed(tmp_path: Path) -> None:
    import torch
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(torch.nn.Linear(6, 3).eval(), (torch.zeros(1, 6),))
    path = tmp_path / "a.pte"
    path.write_bytes(to_edge_transform_and_lower(program).to_executorch().buffer)
    found = inspect(path)
    assert found.operators == {"aten::addmm": 1, "aten::permute_copy": 1}
    assert found.tensors is not None
    assert sorted(one.shape for one in found.tensors) == [[3], [3, 6]]
    assert not ExecuTorchArtifact(path).quantised
