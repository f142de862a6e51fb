"""The ONNX files: the model's answers at any batch, its zeros, and nothing about where it was made."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from safedeploy.artifacts.onnx_encoding import decoded
from safedeploy.errors import UserError
from safedeploy.export.onnx import anonymous, export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation

PLACES = re.compile(rb'\.py\b|site-packages|File "|/home/|/tmp/|/usr/|stack_trace|__main__')


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": x})[0]


def second_weight(path: Path) -> list[np.ndarray]:
    """What the second convolution's weight is in the file, and, where it is quantised, its scale and zero point."""
    model = decoded(onnx.load(path), path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rounded = {node.output[0]: node.input for node in model.graph.node if node.op_type == "DequantizeLinear"}
    weight = [node.input[1] for node in model.graph.node if node.op_type == "Conv"][1]
    return [stored[name] for name in rounded.get(weight, [weight])]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_file_answers_any_batch_as_the_model_does(exported, trained, batch: int) -> None:
    x = trained.x[:batch]
    np.testing.assert_allclose(answers(exported.folder / "model.onnx", x), trained.logits(x), atol=1e-5)


def test_the_opset_is_the_targets_and_the_weights_are_inside(exported) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        model = onnx.load(exported.folder / name, load_external_data=False)
        imported = {entry.domain: entry.version for entry in model.opset_import}
        assert imported.pop("") == exported.target.opset
        assert set(imported) == {function.domain for function in model.functions} <= {"safedeploy"}
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_a_weight_that_was_pruned_is_zero_in_both_files(exported, trained) -> None:
    pruned = trained.module.second[0].weight.detach().numpy() == 0
    assert pruned.mean() > 0.7
    assert (second_weight(exported.folder / "model.onnx")[0] == 0)[pruned].all()
    integers, _, zero_point = second_weight(exported.folder / "model.int8.onnx")
    assert integers.dtype == np.int8
    assert (integers == 0)[pruned].all()
    assert (zero_point == 0).all()


def test_every_output_channel_has_a_scale_of_its_own(exported) -> None:
    assert second_weight(exported.folder / "model.int8.onnx")[1].shape == (6,)


def test_the_batch_norm_is_folded_into_its_convolution(exported) -> None:
    operators = {node.op_type for node in onnx.load(exported.folder / "model.onnx").graph.node}
    assert "Conv" in operators
    assert not operators & {"BatchNormalization", "Dropout"}


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_nothing_in_the_file_says_where_it_was_made(exported, name: str) -> None:
    content = (exported.folder / name).read_bytes()
    assert not PLACES.search(content)
    assert str(Path(__file__).parent).encode() not in content
    model = onnx.load_from_string(content)
    parts = [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]
    assert not any(part.metadata_props or part.doc_string for part in (*parts, *model.graph.initializer))


def test_notes_inside_a_branch_are_stripped_too() -> None:
    inner = onnx.helper.make_node("Identity", ["a"], ["b"], doc_string="net.py, line 12")
    value = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [1])
    branch = onnx.helper.make_graph([inner], "branch", [], [value], doc_string="line 3")
    choice = onnx.helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch)
    model = onnx.helper.make_model(onnx.helper.make_graph([choice], "main", [], []))
    anonymous(model)
    assert b"net.py" not in model.SerializeToString()
    assert b"line 3" not in model.SerializeToString()


def test_the_same_weights_give_the_same_bytes(trained, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_onnx(trained.module, (1, 8, 8), tmp_path / f"{name}.onnx", opset=20, model_name="tinynet")
        quantise_onnx(tmp_path / f"{name}.onnx", tmp_path / f"{name}.int8.onnx", trained.x[:64], Quantisation())
    for kind in ("onnx", "int8.onnx"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


def test_a_channel_that_was_pruned_away_keeps_its_bias_in_int8(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([0.0, 0.25]))
    x = np.random.default_rng(0).uniform(-20, 20, (64, 3)).astype(np.float32)
    export_onnx(module, (3,), tmp_path / "a.onnx", opset=20, model_name="linear")
    quantise_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx", x, Quantisation())
    stored = onnx.load(tmp_path / "b.onnx").graph.initializer
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored}
    bias = next(value for name, value in tensors.items() if name.endswith("bias_quantized"))
    scale = next(value for name, value in tensors.items() if name.endswith("bias_quantized_scale"))
    np.testing.assert_allclose(bias[1] * scale[1], 0.25, rtol=1e-4)


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("activation", ["int8", "uint8"])
def test_every_scheme_a_target_can_name_works(exported, trained, tmp_path: Path, calibration, activation) -> None:
    how = Quantisation(calibration=calibration, activation=activation)
    quantise_onnx(exported.folder / "model.onnx", tmp_path / "q.onnx", trained.x[:128], how)
    agreement = answers(tmp_path / "q.onnx", trained.x).argmax(1) == trained.logits(trained.x).argmax(1)
    assert agreement.mean() > 0.9


class Undecided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


class FixedBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([row[:2] for row in x])


@pytest.mark.parametrize("module", [Undecided(), FixedBatch()])
def test_a_forward_that_cannot_be_traced_is_one_line_and_no_file(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot export mine: torch\.export fails on its forward") as error:
        export_onnx(module.eval(), (3,), tmp_path / "a.onnx", opset=20, model_name="mine")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
