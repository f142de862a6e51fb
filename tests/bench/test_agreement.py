"""Agreement: the same file, the same inputs, two machines; figures known from what the second one is made to answer."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from safedeploy.agreement import agree
from safedeploy.bench.agreement import Allowed, agreement, answers
from safedeploy.bench.devices.local import Local
from safedeploy.errors import UserError
from safedeploy.results import Agreement

Stack = Callable[[int, int], Path]
FLOAT = Allowed("android", "float32", 1e-4, 0.95)
INT8 = Allowed("android", "int8", 1e-4, 0.95)


@dataclass(frozen=True)
class Other(Local):
    """A machine that answers what another file would: `instead`."""

    instead: Path = Path()
    name: str = "other"
    emulated: bool = True

    def start(self, model: Path, log: IO[bytes]) -> tuple["subprocess.Popen[bytes]", str]:
        return super().start(self.instead, log)


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    """A copy of the file whose last weight is changed."""
    model = onnx.load(path)
    weight = model.graph.initializer[-1]
    new = change(numpy_helper.to_array(weight).copy()).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(new, weight.name))
    onnx.save(model, path.with_name("changed.onnx"))
    return path.with_name("changed.onnx")


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).standard_normal((70, 16)).astype(np.float32)


def test_a_machine_agrees_with_itself_bit_for_bit(stack: Stack, x: Any) -> None:
    path = stack(16, 2)
    done: list[float] = []
    found = agreement(path, x, Other(instead=path), FLOAT, inputs="random", progress=done.append)
    assert (found.identical, found.max_logit_difference, found.top1_agreement, found.within) == (True, 0, 1, True)
    assert (found.samples, found.device, found.runtime) == (70, "other", found.runtime_here)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


def test_figures_are_those_of_the_difference_that_was_made(stack: Stack, x: Any) -> None:
    """All logits of one class doubled: the difference is that class's logit, the class chosen follows from it."""
    path = stack(16, 1)
    here, _ = answers(path, x, Local())
    there = here * [2, 1]
    other = Other(instead=changed(path, lambda weight: weight * [2, 1]))
    found = agreement(path, x, other, FLOAT, inputs="random")
    assert found.max_logit_difference == pytest.approx(np.abs(here[:, 0]).max(), rel=1e-5)
    assert found.mean_logit_difference == pytest.approx(np.abs(here[:, 0]).mean() / 2, rel=1e-5)
    assert found.largest_logit == pytest.approx(np.abs(here).max(), rel=1e-6)
    assert found.top1_agreement == pytest.approx((there.argmax(1) == here.argmax(1)).mean())
    assert not found.identical
    assert not found.within


def test_float32_is_held_to_the_logits_and_int8_to_the_class(stack: Stack, x: Any) -> None:
    """Both logits doubled: far apart, and every class the same."""
    path = stack(16, 1)
    other = Other(instead=changed(path, lambda weight: weight * 2))
    assert not agreement(path, x, other, FLOAT, inputs="random").within
    assert agreement(path, x, other, INT8, inputs="random").within
    swapped = Other(instead=changed(path, lambda weight: weight[:, ::-1]))
    assert not agreement(path, x, swapped, INT8, inputs="random").within


def test_answers_come_in_the_order_of_the_inputs(stack: Stack, x: Any) -> None:
    path = stack(16, 1)
    whole, known = answers(path, x, Local())
    parts = [answers(path, x[i : i + 1], Local())[0] for i in (0, 33, 69)]
    np.testing.assert_allclose(np.concatenate(parts), whole[[0, 33, 69]], rtol=1e-6)
    assert known["threads"] == 1


def test_a_file_that_answers_nan_is_not_compared(stack: Stack, x: Any) -> None:
    path = stack(16, 1)
    with pytest.raises(UserError, match="NaN or infinity on other") as caught:
        agreement(path, x, Other(instead=changed(path, lambda weight: weight * np.nan)), FLOAT, inputs="random")
    assert "\n" not in str(caught.value)


def test_bad_questions_are_one_line(stack: Stack, x: Any) -> None:
    path = stack(16, 1)
    with pytest.raises(UserError, match="no inputs"):
        answers(path, x[:0], Local())
    with pytest.raises(UserError, match="--samples 0"):
        agree([path], Local(), samples=0)
    with pytest.raises(UserError, match="does not exist"):
        agree([path.with_name("none.onnx")], Local())
    with pytest.raises(UserError, match=r"running .* on local: .*5"):
        answers(path, x[:, :5], Local())


def test_a_strangers_file_gets_random_inputs_and_androids_tolerance(stack: Stack) -> None:
    path = stack(16, 1)
    (found,) = agree([path], Other(instead=path), samples=9)
    assert (found.inputs, found.samples, found.target, found.precision) == ("random", 9, "android", "float32")


@pytest.mark.slow
def test_a_bundles_files_get_their_runs_inputs_and_leave_the_result_there(shipped_run: Path) -> None:
    from safedeploy.report.contents import read_run
    from safedeploy.rundir import RunDir

    path = shipped_run / "bundle" / "pair" / "model.onnx"
    (found,) = agree([path], Other(instead=path), samples=9)
    assert (found.inputs, found.samples, found.target) == ("validation", 9, "pair")
    assert Agreement.read(shipped_run / "bench" / "pair" / "model.onnx.agreement.json") == found
    assert read_run(RunDir(shipped_run)).models[0].timing == {}, "an agreement is no timing"
