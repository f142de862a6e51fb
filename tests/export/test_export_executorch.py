"""The ExecuTorch programs: the model's answers, what the delegate took, small weights, and no trace of their author."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.errors import UserError
from safedeploy.export.executorch import export_int8_pte, export_pte, require_executorch
from safedeploy.export.targets import Quantisation

PLACES = re.compile(rb'\.py\b|site-packages|File "|/home/|/tmp/|/usr/|stack_trace|__main__')


def test_the_program_answers_as_the_model_does(exported, trained) -> None:
    answers = open_artifact(exported.folder / "model.pte").logits(trained.x[:20])
    np.testing.assert_allclose(answers, trained.logits(trained.x[:20]), atol=1e-5)


def test_the_delegate_takes_every_operator_of_a_plain_network(exported) -> None:
    found = {file.name: file.delegation for file in exported.manifest.files}
    for name in ("model.pte", "model.int8.pte"):
        assert found[name].left == {}
        assert found[name].delegated >= 8
    assert found["model.onnx"] is None


@pytest.mark.parametrize("name", ["model.pte", "model.int8.pte"])
def test_nothing_in_the_program_says_where_it_was_made(exported, name: str) -> None:
    content = (exported.folder / name).read_bytes()
    assert not PLACES.search(content)
    assert str(Path(__file__).parent).encode() not in content


def test_the_same_weights_give_the_same_bytes(exported, trained, tmp_path: Path) -> None:
    export_pte(trained.module, (1, 8, 8), tmp_path / "a.pte", model_name="tinynet")
    export_int8_pte(trained.module, (1, 8, 8), tmp_path / "b.pte", trained.x[:64], Quantisation(), model_name="tinynet")
    assert (tmp_path / "a.pte").read_bytes() == (exported.folder / "model.pte").read_bytes()
    assert (tmp_path / "b.pte").read_bytes() == (exported.folder / "model.int8.pte").read_bytes()


class Unusual(nn.Module):
    """Two operators that XNNPACK does not have, and a pooling that counts its padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.pool = nn.AvgPool2d(2, padding=1)
        self.linear = nn.Linear(4 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.pool(torch.cumsum(torch.erf(self.conv(x)), 3)).flatten(1))


def test_operators_the_delegate_leaves_are_named_and_the_answers_stay_right(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Unusual().eval()
    x = torch.randn(16, 1, 8, 8)
    with torch.no_grad():
        wanted = module(x).numpy()
    left = {"aten.avg_pool2d.default": 1, "aten.cumsum.default": 1, "aten.erf.default": 1}
    assert export_pte(module, (1, 8, 8), tmp_path / "a.pte", model_name="unusual").left == left
    np.testing.assert_allclose(open_artifact(tmp_path / "a.pte").logits(x.numpy()), wanted, atol=1e-5)
    found = export_int8_pte(module, (1, 8, 8), tmp_path / "b.pte", x.numpy(), Quantisation(), model_name="unusual")
    assert found.left == left
    answers = open_artifact(tmp_path / "b.pte").logits(x.numpy())
    assert np.abs(answers - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_layer_of_small_weights_keeps_its_levels_in_int8(tmp_path: Path) -> None:
    """XNNPACKQuantizer's own floor, a scale of 2^-12, would round every one of these weights to -1, 0 or 1 step."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 4)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.empty(4, 16).uniform_(-4e-4, 4e-4))
        module[0].bias.zero_()
    x = 100 * torch.randn(64, 16)
    with torch.no_grad():
        wanted = module(x).numpy()
    export_int8_pte(module, (16,), tmp_path / "a.pte", x.numpy(), Quantisation(), model_name="small")
    difference = np.abs(open_artifact(tmp_path / "a.pte").logits(x.numpy()) - wanted)
    assert difference.max() < 0.02 * np.abs(wanted).max()


def test_without_executorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "executorch", None)
    with pytest.raises(
        UserError, match=r"needs the extra 'executorch': python -m pip install 'safedeploy\[executorch\]'"
    ):
        require_executorch()


def test_batch_norms_of_a_nameless_sequence_are_exported(tmp_path: Path) -> None:
    """Its weights are called '1.weight', which ExecuTorch's own pass cannot take."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    x = torch.randn(8, 1, 8, 8)
    module(x)
    module.eval()
    export_pte(module, (1, 8, 8), tmp_path / "model.pte", model_name="sequence")
    export_int8_pte(module, (1, 8, 8), tmp_path / "int8.pte", x.numpy(), Quantisation(), model_name="sequence")
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(open_artifact(tmp_path / "model.pte").logits(x.numpy()), wanted, atol=1e-5)
    assert np.abs(open_artifact(tmp_path / "int8.pte").logits(x.numpy()) - wanted).max() < 0.1 * np.abs(wanted).max()
