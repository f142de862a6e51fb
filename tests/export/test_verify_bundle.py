"""The checks of a bundle: a faithful one passes, and each kind of fault is found under its own name."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from safedeploy.artifacts.info import artifact_info
from safedeploy.errors import UserError
from safedeploy.export.hostile import asked_apart
from safedeploy.export.questions import Known, Questions, random_questions
from safedeploy.export.targets import Target, load_target
from safedeploy.export.verify_bundle import CheckFailed, read_manifest, require_passed, verify_bundle
from safedeploy.results import BundleFile, Check, Manifest, Preprocessing, Verification

COLUMNS, CLASSES = 6, 3
WEIGHT = np.random.default_rng(0).standard_normal((COLUMNS, CLASSES)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((600, COLUMNS)).astype(np.float32)
TARGET = load_target("linux-arm64")


def linear(path: Path, *, weight: np.ndarray = WEIGHT, tail: list[onnx.NodeProto] | None = None) -> Path:
    """One matrix product, and then the nodes of `tail`, from "p" to "y"."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), *(tail or [helper.make_node("Identity", ["p"], ["y"])])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 6), ("y", 3))]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([0], dtype=np.int64), "axis")]
    graph = helper.make_graph(nodes, "linear", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def describe(folder: Path) -> Manifest:
    """A manifest true to the bytes of every file in `folder`."""
    check = Check(
        samples=1, max_logit_difference=0, mean_logit_difference=0, top1_agreement=1, accuracy=1, torch_accuracy=1
    )
    files = [
        BundleFile(
            name=path.name,
            runtime="onnxruntime",
            precision="float32",
            **artifact_info(path).model_dump(include={"sha256", "size_bytes", "zip_bytes"}),
            check=check,
        )
        for path in sorted(folder.glob("*.onnx"))
    ]
    manifest = Manifest(
        target=TARGET.name,
        model="linear",
        input_shape=[COLUMNS],
        input_dtype="float32",
        input_layout="NF",
        output="logits",
        preprocessing=Preprocessing(raw="columns", scale=1, mean=[0], std=[1]),
        classes=["a", "b", "c"],
        files=files,
        versions={},
    )
    manifest.write(folder / "manifest.json")
    return manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "linux-arm64"
    folder.mkdir()
    linear(folder / "model.onnx")
    describe(folder)
    return folder


def real_questions(rows: int = len(X)) -> Questions:
    x = X[:rows]
    return Questions(x, f"{rows} inputs", Known((x @ WEIGHT).argmax(1), x @ WEIGHT, lambda other: other @ WEIGHT))


def verified(folder: Path, questions: Questions | None = None, target: Target = TARGET) -> Verification:
    return verify_bundle(folder, read_manifest(folder), target, questions or real_questions(), not_checked=[])


def test_a_faithful_bundle_passes_every_check(bundle: Path) -> None:
    told: list[float] = []
    found = verify_bundle(
        bundle, read_manifest(bundle), TARGET, real_questions(), not_checked=["x"], progress=told.append
    )
    assert (found.passed, found.samples, found.failures, told) == (True, 600, [], [1.0])
    assert found.not_checked == ["x"]
    require_passed(found)
    file = found.files[0]
    assert [one.check for one in file.outcomes] == ["hash", "opens", "answers", "batches", "extremes", "saturation"]
    assert [one.passed for one in file.outcomes] == [True] * 5 + [None]
    assert [one.size for one in file.batches] == [1, 2, 3, 7, 33]
    assert {one.input: one.answers for one in file.extremes} == {
        **dict.fromkeys(["zeros", "lowest", "highest", "large", "-large"], "finite"),
        **dict.fromkeys(["NaN", "+Inf", "-Inf", "one NaN"], "not finite"),
    }


def test_accuracies_have_the_exact_interval(bundle: Path) -> None:
    """All 600 right: by Clopper and Pearson the lower end is (α/2)^(1/600)."""
    answers = verified(bundle).files[0].answers
    assert answers is not None
    assert (answers.accuracy, answers.accuracy_high) == (1, 1)
    assert answers.accuracy_low == pytest.approx(0.025 ** (1 / 600))


def test_fewer_than_500_inputs_are_said(bundle: Path) -> None:
    assert verified(bundle, real_questions(120)).not_checked == [
        "120 real inputs instead of 500: the validation role has no more"
    ]


def test_without_the_torch_model_the_rest_is_checked(bundle: Path) -> None:
    found = verified(bundle, random_questions((COLUMNS,)))
    assert found.passed
    assert found.files[0].answers is None
    assert len(found.files[0].batches) == 5
    assert all(one.torch is None for one in found.files[0].extremes)


def flip(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-9] ^= 1
    (folder / "model.onnx").write_bytes(content)


def cut(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-10])


def add_a_file(folder: Path) -> None:
    (folder / "split.npz").write_bytes(b"secret")


def another_model(folder: Path) -> None:
    linear(folder / "model.onnx", weight=WEIGHT + np.float32(0.01))
    describe(folder)


def another_shape(folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest.model_copy(update={"classes": ["a", "b"]}).write(folder / "manifest.json")


def depends_on_the_batch(folder: Path) -> None:
    mean = helper.make_node("ReduceMean", ["p", "axis"], ["m"], keepdims=1)
    linear(folder / "model.onnx", tail=[mean, helper.make_node("Sub", ["p", "m"], ["y"])])
    describe(folder)


def overflows(folder: Path) -> None:
    """p · e^|p| / e^|p|: the same but for large answers, which become infinity over infinity."""
    absolute, power = helper.make_node("Abs", ["p"], ["a"]), helper.make_node("Exp", ["a"], ["e"])
    up, down = helper.make_node("Mul", ["p", "e"], ["u"]), helper.make_node("Div", ["u", "e"], ["y"])
    linear(folder / "model.onnx", tail=[absolute, power, up, down])
    describe(folder)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (flip, r"model\.onnx: hash: sha256 .*: changed since export"),
        (cut, r"model\.onnx: size: [\d,]+ bytes, the manifest says [\d,]+: cut short or replaced"),
        (lambda folder: (folder / "model.onnx").unlink(), r"model\.onnx: present: the manifest names it"),
        (add_a_file, r"contents: 'split\.npz' ships and is not in the manifest"),
        (another_model, r"model\.onnx: answers: strays from the torch model on 600 validation inputs"),
        (another_shape, r"model\.onnx: opens: .* the manifest says \(n, 6\) and 2"),
        (overflows, r"model\.onnx: extremes: 'large' gets NaN or infinity"),
    ],
)
def test_each_fault_is_found_by_its_check_and_named(bundle: Path, fault, failure: str) -> None:
    fault(bundle)
    found = verified(bundle)
    assert not found.passed
    with pytest.raises(CheckFailed, match=failure) as error:
        require_passed(found)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    assert "bundle 'linux-arm64'" in str(error.value)


def test_answers_that_depend_on_the_batch_are_found_without_the_torch_model(bundle: Path) -> None:
    depends_on_the_batch(bundle)
    found = verified(bundle, random_questions((COLUMNS,)))
    assert found.failures[0].startswith("model.onnx: batches: a batch of 1 answers otherwise")


def test_a_file_with_other_bytes_is_never_run(bundle: Path) -> None:
    flip(bundle)
    outcomes = {one.check: one for one in verified(bundle).files[0].outcomes}
    assert list(outcomes) == ["hash", "runs"]
    assert outcomes["runs"].passed is None


def test_one_bad_file_does_not_hide_the_others(bundle: Path) -> None:
    linear(bundle / "second.onnx")
    describe(bundle)
    flip(bundle)
    files = {file.name: file.passed for file in verified(bundle).files}
    assert files == {"model.onnx": False, "second.onnx": True}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json; give a bundle"),
        (lambda folder: shutil.rmtree(folder), "does not exist; give a bundle"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is not a Manifest file"),
        (lambda folder: (folder / "manifest.json").write_text('{"schema": 2}'), "is not a Manifest file: schema"),
    ],
)
def test_what_is_no_bundle_is_one_line(bundle: Path, spoil, complaint: str) -> None:
    spoil(bundle)
    with pytest.raises(UserError, match=complaint) as error:
        read_manifest(bundle)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_a_manifest_that_names_a_file_elsewhere_is_refused(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    away = manifest.files[0].model_copy(update={"name": "../../etc/passwd"})
    manifest.model_copy(update={"files": [away]}).write(bundle / "manifest.json")
    with pytest.raises(UserError, match=r"names '\.\./\.\./etc/passwd', which is no file of its folder"):
        read_manifest(bundle)


def children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are told by Linux's /proc")
def test_a_crash_in_the_process_that_is_asked_apart_is_an_answer_and_the_next_file_is_asked(bundle: Path) -> None:
    before = children()
    with asked_apart(executorch=False) as ask:
        (pid,) = children() - before
        os.kill(pid, signal.SIGSEGV)
        assert {one.answers for one in ask(bundle / "model.onnx")} == {"crashed"}
        assert {one.answers for one in ask(bundle / "model.onnx")} == {"not finite"}
    assert children() == before


def test_every_file_of_a_real_export_passes_again(exported, trained) -> None:
    questions = Questions(trained.x, "240 inputs", Known(trained.y, trained.logits(trained.x), trained.logits))
    found = verify_bundle(exported.folder, exported.manifest, exported.target, questions, not_checked=[])
    assert found.failures == []
    assert {file.name: file.saturation is not None for file in found.files} == {
        "model.onnx": False,
        "model.int8.onnx": True,
        "model.pte": False,
        "model.int8.pte": True,
    }
    for file in found.files:
        assert {one.answers for one in file.extremes if one.torch} == {"finite"}
