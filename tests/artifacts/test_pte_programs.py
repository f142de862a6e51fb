"""Programs of all kinds: several batches, kernels instead of delegates, and what is not covered is named."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.pte.rebuild import rebuild
from safedeploy.export.executorch import export_int8_pte, export_pte
from safedeploy.export.targets import Quantisation

RNG = np.random.default_rng(6)
SHAPE = (1, 8, 8)


def samples(n: int) -> Any:
    return RNG.standard_normal((n, *SHAPE), dtype=np.float32)


Body = Callable[[torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """A convolution, linear layers on whatever each of `bodies` does to (n, 4, 8, 8), summed, and a last one."""

    def __init__(self, *bodies: Body) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bodies = bodies
        with torch.no_grad():
            widths = [body(torch.zeros(1, 4, 8, 8)).flatten(1).shape[1] for body in bodies]
        self.heads = nn.ModuleList(nn.Linear(width, 8) for width in widths)
        self.last = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        parts = [head(body(x).flatten(1)) for head, body in zip(self.heads, self.bodies, strict=True)]
        answers: torch.Tensor = self.last(functools.reduce(torch.add, parts))
        return answers


def left_to_kernels(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(torch.cumsum(torch.erf(x), 3), 2, padding=1)


def joined(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([functional.leaky_relu(x, 0.1), functional.elu(x), x[:, 1:3] * x[:, :2]], dim=1)


def averaged(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x, 2, 2, count_include_pad=False)


OPERATORS: list[Body] = [
    functional.relu6,
    functional.hardswish,
    lambda x: torch.sigmoid(x) * torch.tanh(x),
    functional.gelu,
    averaged,
    lambda x: functional.max_pool2d(x, 3, 2, padding=1),
    lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    lambda x: x.mean((2, 3)),
    lambda x: torch.softmax(x, dim=-1),
    joined,
    lambda x: functional.pad(x, (1, 2, 0, 1), value=0.5),
    lambda x: functional.interpolate(x, size=(5, 5), mode="bilinear", align_corners=False),
    lambda x: x.permute(0, 2, 3, 1) - 0.5,
    lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    left_to_kernels,
    lambda x: torch.minimum(x, x * x) + torch.maximum(x, torch.exp(-x)) / (1 + x.abs()),
]
INT8_OPERATORS: list[Body] = [functional.relu6, averaged, lambda x: x.mean((2, 3), keepdim=True), left_to_kernels]


def assert_opened(path: Path, tolerance: float = 1e-5) -> ExecuTorchArtifact:
    artifact = ExecuTorchArtifact(path)
    x = samples(9)
    wanted = artifact.logits(x)
    found = artifact.unpack().features(x).logits
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    return artifact


def test_every_operator_in_one_float32_program(tmp_path: Path) -> None:
    export_pte(Net(*OPERATORS).eval(), SHAPE, tmp_path / "a.pte", model_name="net")
    assert_opened(tmp_path / "a.pte")


@pytest.mark.parametrize("per_channel", [pytest.param(False, marks=pytest.mark.slow), True])
def test_operators_in_an_int8_program(tmp_path: Path, per_channel: bool) -> None:
    how = Quantisation(per_channel=per_channel)
    export_int8_pte(Net(*INT8_OPERATORS).eval(), SHAPE, tmp_path / "a.pte", samples(32), how, model_name="net")
    assert_opened(tmp_path / "a.pte", tolerance=0.02)


def without_delegate(module: nn.Module, batch: int, path: Path) -> Path:
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module.eval(), (torch.zeros(batch, *SHAPE),))
    path.write_bytes(to_edge_transform_and_lower(program).to_executorch().buffer)
    return path


@pytest.mark.parametrize("batch", [1, 4])
def test_a_program_of_kernels_alone(convnet: Any, tmp_path: Path, batch: int) -> None:
    """No delegate: weights are the program's constants, and the flattening is a second tensor at one place."""
    path = without_delegate(convnet, batch, tmp_path / "a.pte")
    convnet.train()
    artifact = assert_opened(path)
    linear = [part for part in artifact.unpack().module.modules() if isinstance(part, nn.Linear)]  # type: ignore[attr-defined]
    assert torch.equal(linear[-1].weight, convnet[-1].weight)


def test_a_file_exported_for_four_samples_shows_any_number(convnet: Any, convnet_pte: Path) -> None:
    artifact = assert_opened(convnet_pte)
    assert artifact.unpack().features(samples(1)).penultimate.shape == (1, 16)


def test_an_operator_that_is_not_covered_is_named(tmp_path: Path) -> None:
    up = nn.ConvTranspose2d(4, 2, 2, stride=2)
    export_pte(Net(up).eval(), SHAPE, tmp_path / "a.pte", model_name="net")
    with pytest.raises(Unopenable, match=r"XNNPACK's ConvTranspose2d is not read here"):
        ExecuTorchArtifact(tmp_path / "a.pte").unpack()


def test_a_kernel_that_is_not_covered_is_named(tmp_path: Path) -> None:
    path = without_delegate(Net(lambda x: x.flip(-1)), 1, tmp_path / "a.pte")
    with pytest.raises(Unopenable, match=r"the kernel aten::flip\.out is not read here"):
        ExecuTorchArtifact(path).unpack()


def test_another_delegate_is_opaque(convnet_pte: Path) -> None:
    """Its name in the bytes is all that differs; the runtime here has no such backend to ask."""
    data = convnet_pte.read_bytes().replace(b"XnnpackBackend", b"UnknownBackend")
    with pytest.raises(Unopenable, match="inside the delegate UnknownBackend, which is opaque"):
        rebuild(data)


def test_weights_quantised_anew_for_every_input_are_not_guessed(tmp_path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackDynamicallyQuantizedPartitioner
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = (torch.zeros(1, 6),)
    how = xnnpack.XNNPACKQuantizer().set_global(
        xnnpack.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    )
    observed = prepare_pt2e(torch.export.export(module, x).module(), how)
    observed(*x)
    program = torch.export.export(convert_pt2e(observed), x)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackDynamicallyQuantizedPartitioner()])
    (tmp_path / "a.pte").write_bytes(edge.to_executorch().buffer)
    with pytest.raises(Unopenable, match="quantises its activations anew for every input"):
        ExecuTorchArtifact(tmp_path / "a.pte").unpack()


def test_a_file_whose_answers_differ_stays_closed(tmp_path: Path) -> None:
    """The runtime has one model loaded, the file on disk has become another."""
    here, other = tmp_path / "a.pte", tmp_path / "b.pte"
    export_pte(Net(functional.relu).eval(), SHAPE, here, model_name="net")
    export_pte(Net(torch.tanh).eval(), SHAPE, other, model_name="net")
    artifact = ExecuTorchArtifact(here)
    shutil.copy(other, here)
    with pytest.raises(Unopenable, match=r"answers differently: by 0?\.?\d.* of the largest logit"):
        artifact.unpack()
