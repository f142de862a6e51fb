"""The comparison: figures worked by hand, and a file that is not the model is caught with its figures."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.export.targets import load_target
from safedeploy.export.verify import OutOfTolerance, compare, require
from safedeploy.results import Check


def tampered(source: Path, path: Path, shift: float) -> Path:
    """`source` with `shift` added to the bias of class 0."""
    model = onnx.load(source)
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == last.input[2])
    changed = numpy_helper.to_array(bias).copy()
    changed[0] += shift
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    onnx.save(model, path)
    return path


def answers(path: Path, trained) -> NDArray[np.float32]:
    return open_artifact(path).logits(trained.x)


def test_a_faithful_file_differs_by_rounding_alone(exported, trained) -> None:
    reference = trained.logits(trained.x)
    found = compare(answers(exported.folder / "model.onnx", trained), reference, trained.y)
    assert (found.samples, found.top1_agreement) == (240, 1.0)
    assert found.max_logit_difference < 1e-5
    assert found.accuracy == found.torch_accuracy == (reference.argmax(1) == trained.y).mean()
    require(found, "model.onnx", "float32", exported.target, reference)


def test_the_figures_of_a_file_whose_class_0_is_raised(exported, trained, tmp_path: Path) -> None:
    """A large shift sends every input to class 0, so agreement and accuracy are that class's shares."""
    reference = trained.logits(trained.x)
    wrong = tampered(exported.folder / "model.onnx", tmp_path / "wrong.onnx", 1000.0)
    found = compare(answers(wrong, trained), reference, trained.y)
    assert found.max_logit_difference == pytest.approx(1000, rel=1e-4)
    assert found.mean_logit_difference == pytest.approx(250, rel=1e-4)
    assert found.top1_agreement == (reference.argmax(1) == 0).mean()
    assert found.accuracy == (trained.y == 0).mean()
    for precision in ("float32", "int8"):
        with pytest.raises(OutOfTolerance, match=r"max logit difference 1e\+03 .* top-1 agreement 0\.\d+") as error:
            require(found, "wrong.onnx", precision, exported.target, reference)
        assert "wrong.onnx" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_shift_too_small_to_change_a_class_is_still_too_much_for_float32(exported, trained, tmp_path: Path) -> None:
    reference = trained.logits(trained.x)
    shift = float(0.001 * np.abs(reference).max())
    wrong = tampered(exported.folder / "model.onnx", tmp_path / "wrong.onnx", shift)
    found = compare(answers(wrong, trained), reference, trained.y)
    with pytest.raises(OutOfTolerance, match=r"0\.0001 of the largest logit"):
        require(found, "wrong.onnx", "float32", exported.target, reference)
    require(found, "wrong.onnx", "int8", exported.target, reference)


@pytest.mark.parametrize(
    ("agreement", "accuracy", "ships"), [(0.95, 0.88, True), (0.94, 0.90, False), (1.0, 0.87, False)]
)
def test_int8_is_judged_by_agreement_and_by_accuracy_lost(agreement: float, accuracy: float, ships: bool) -> None:
    found = Check(
        samples=100,
        max_logit_difference=3.0,
        mean_logit_difference=1.0,
        top1_agreement=agreement,
        accuracy=accuracy,
        torch_accuracy=0.90,
    )
    reference = np.ones((100, 3), dtype=np.float32)
    if ships:
        require(found, "model.int8.onnx", "int8", load_target("android"), reference)
    else:
        with pytest.raises(OutOfTolerance, match=f"accuracy lost {0.9 - accuracy:.3f}"):
            require(found, "model.int8.onnx", "int8", load_target("android"), reference)
