"""Realistic report contents: evidence built by the real ROC functions from drawn scores, so that figures agree."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from safedeploy import roc
from safedeploy.report.contents import Contents, ModelResults
from safedeploy.results import (
    Access,
    ArtifactInfo,
    AttackEvidence,
    AttackNotRun,
    BlindControl,
    BundleFile,
    Check,
    ClassLeakage,
    Controls,
    CorrectnessControl,
    Delegation,
    DenseControl,
    Evidence,
    LayerDensity,
    Manifest,
    Percentiles,
    Preprocessing,
    Ratio,
    ReferenceEffect,
    SampleCounts,
    Summary,
    Task,
    Timing,
    Verdict,
)

CLOSED = "an ExecuTorch file does not show its inner activations"
FILES = ("model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte")
SIZES = {
    "model.onnx": (178_432, 24_611),
    "model.int8.onnx": (52_310, 17_204),
    "model.pte": (181_920, 26_018),
    "model.int8.pte": (58_112, 19_377),
}
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
VERSIONS = {
    "python": "3.11.2",
    "numpy": "2.4.0",
    "torch": "2.13.0",
    "onnxruntime": "1.31.0",
    "executorch": "1.4.0",
    "safedeploy": "0.1.0",
}
ATTACKS: tuple[tuple[str, Access, float], ...] = (
    ("loss", "black", 0.7),
    ("modified-entropy-classwise", "black", 0.85),
    ("neural-black-box", "black", 0.95),
    ("neural-white-box", "white", 1.0),
)

Draw = NDArray[np.float64]

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


def attack(
    name: str, access: Access, leak: float, members: int, nonmembers: int, classes: tuple[str, ...], seed: int
) -> AttackEvidence:
    """Scores of members lie higher in proportion to `leak`; a tenth of them much higher, as memorised examples do."""
    draw = np.random.default_rng(seed)
    m = draw.normal(leak * 0.6, 1, members) + np.where(draw.random(members) < 0.1, leak * 4, 0)
    n = draw.normal(0, 1, nonmembers)
    m_class, n_class = draw.integers(len(classes), size=members), draw.integers(len(classes), size=nonmembers)
    area, low, high = roc.auc_interval(m, n)
    threshold = roc.best_threshold(m, n)
    hits, rejections = int((m >= threshold).sum()), int((n < threshold).sum())
    balanced = roc.mean_of_proportions_interval((hits, members), (rejections, nonmembers))
    per_class = []
    for index, label in enumerate(classes):
        mine, theirs = m[m_class == index] + 0.08 * index * leak, n[n_class == index]
        if mine.size > 1 and theirs.size > 1:
            value, below, above = roc.auc_interval(mine, theirs)
            per_class.append(
                ClassLeakage(
                    label=label, members=mine.size, nonmembers=theirs.size, auc=value, auc_low=below, auc_high=above
                )
            )
    return AttackEvidence(
        name=name,
        access=access,
        references=0,
        auc=area,
        auc_low=low,
        auc_high=high,
        balanced_accuracy=balanced[0],
        balanced_accuracy_low=balanced[1],
        balanced_accuracy_high=balanced[2],
        tpr=[roc.tpr_at_fpr(m, n, 0.01), roc.tpr_at_fpr(m, n, 0.001)],
        roc=roc.thin_curve(m, n),
        histogram=roc.score_histogram(m, n),
        per_class=per_class,
    )


def artifact(file: str, dense: bool) -> ArtifactInfo:
    size, packed = SIZES[file]
    digest = ("d" if dense else "a") + f"{FILES.index(file)}" * 63
    kind = "onnx" if file.endswith("onnx") else "executorch"
    return ArtifactInfo(
        path=f"runs/x/bundle/android/{file}",
        sha256=digest,
        format=kind,
        size_bytes=size,
        zip_bytes=packed * 6 if dense else packed,
    )


def evidence(
    file: str,
    leak: float = 0.45,
    dense: bool = False,
    budget: dict[str, float] | None = None,
    members: int = 2000,
    nonmembers: int = 2000,
    classes: tuple[str, ...] = CLASSES,
    control: DenseControl | None = None,
) -> Evidence:
    """One file's audit, judged against `budget` on AUC as an audit would: over the whole interval, or not decided."""
    white = file.endswith("onnx")
    seed = 100 * FILES.index(file) + dense
    attacks = [
        attack(name, access, leak * share, members, nonmembers, classes, seed + index)
        for index, (name, access, share) in enumerate(ATTACKS)
        if white or access == "black"
    ]
    worst = max(attacks, key=lambda one: one.auc)
    budget = budget or {}
    limit = budget.get("auc")
    outcome = "none"
    if limit is not None:
        outcome = "fail" if worst.auc_low > limit else "pass" if worst.auc_high <= limit else "inconclusive"
    right = (round(members * (0.99 if dense else 0.93)), round(nonmembers * (0.896 if dense else 0.883)))
    correctness = roc.mean_of_proportions_interval((right[0], members), (nonmembers - right[1], nonmembers))
    draw = np.random.default_rng(seed + 50)
    blind = roc.auc_interval(draw.normal(size=members), draw.normal(size=nonmembers))
    reasons = {
        "none": "no budget was given",
        "pass": f"the 95 % interval of {worst.name} ends at {worst.auc_high:.3f}",
        "fail": f"the 95 % interval of {worst.name} begins at {worst.auc_low:.3f}",
        "inconclusive": f"the 95 % interval of {worst.name} holds the limit",
    }
    return Evidence(
        artifact=artifact(file, dense),
        samples=SampleCounts(members=members, nonmembers=nonmembers),
        known=SampleCounts(members=2000, nonmembers=2000),
        task=Task(
            member_accuracy=right[0] / members,
            nonmember_accuracy=right[1] / nonmembers,
            test_accuracy=0.8991 if dense else 0.8862,
        ),
        attacks=attacks,
        not_run=[] if white else [AttackNotRun(name="neural-white-box", access="white", reason=CLOSED)],
        controls=Controls(
            correctness=CorrectnessControl(attack_accuracy=correctness[0], low=correctness[1], high=correctness[2]),
            blind=BlindControl(auc=blind[0], auc_low=blind[1], auc_high=blind[2], shifted=bool(blind[1] > 0.5)),
            dense=control,
            missing={} if control or dense else {"dense": "the run has no dense control"},
        ),
        verdict=Verdict(outcome=outcome, budget=budget, worst_attack=worst.name, reason=reasons[outcome]),
        versions=VERSIONS,
    )


def timing(file: str, dense: bool = False, device: str = "local") -> Timing:
    slow = 1.9 if dense else 1.0
    p50 = {"model.onnx": 0.212, "model.int8.onnx": 0.164, "model.pte": 0.187, "model.int8.pte": 0.151}[file] * slow
    ratio = Ratio(
        baseline="runs/fashion/dense/bundle/android/model.onnx",
        median=p50 / 0.212 / slow,
        low=p50 / 0.22 / slow,
        high=p50 / 0.205 / slow,
        blocks=8,
    )
    return Timing(
        artifact=artifact(file, dense),
        device=device,
        machine={"cpu": "Example CPU at 2.4 GHz", "system": "Linux"},
        runtime="onnxruntime 1.31.0" if file.endswith("onnx") else "executorch 1.4.0",
        threads=1,
        protocol="quick",
        batch=1,
        cold_load_ms=11.2 * slow,
        first_inference_ms=0.91 * slow,
        latency_ms=Percentiles(p50=p50, p90=p50 * 1.12, p99=p50 * 1.61, mean=p50 * 1.05, queries=46_211, seconds=10.0),
        peak_memory_bytes=61_400_000,
        baseline_memory_bytes=48_100_000,
        ratio=None if file == "model.onnx" else ratio,
    )


def manifest(dense: bool = False, classes: tuple[str, ...] = CLASSES) -> Manifest:
    files = []
    for file in FILES:
        info = artifact(file, dense)
        quantised = "int8" in file
        check = Check(
            samples=3600,
            max_logit_difference=0.41 if quantised else 1.3e-5,
            mean_logit_difference=0.052 if quantised else 1.1e-6,
            top1_agreement=0.991 if quantised else 1.0,
            accuracy=0.8866 if quantised else 0.8881,
            torch_accuracy=0.8881,
        )
        delegation = (
            Delegation(delegate="XnnpackBackend", delegated=11, left={"aten::view_copy": 1} if quantised else {})
            if file.endswith("pte")
            else None
        )
        files.append(
            BundleFile(
                name=file,
                runtime="onnxruntime" if file.endswith("onnx") else "executorch",
                precision="int8" if quantised else "float32",
                sha256=info.sha256,
                size_bytes=info.size_bytes,
                zip_bytes=info.zip_bytes,
                check=check,
                delegation=delegation,
            )
        )
    return Manifest(
        target="android",
        model="lenet5",
        input_shape=[1, 28, 28],
        input_dtype="float32",
        input_layout="NCHW",
        output="logits",
        preprocessing=Preprocessing(raw="uint8 grey levels, 0 to 255", scale=1 / 255, mean=[0.286], std=[0.353]),
        classes=list(classes),
        files=files,
        versions=VERSIONS,
        runtimes={"onnxruntime": "onnxruntime-android >= 1.20", "executorch": "executorch-android >= 1.0"},
    )


def summary(dense: bool = False) -> Summary:
    shapes = {"conv1": [6, 1, 5, 5], "conv2": [16, 6, 5, 5], "fc1": [120, 400], "fc2": [84, 120], "fc3": [10, 84]}
    shares = (
        dict.fromkeys(shapes, 1.0)
        if dense
        else {"conv1": 0.71, "conv2": 0.187, "fc1": 0.031, "fc2": 0.054, "fc3": 0.29}
    )
    layers = []
    for name, shape in shapes.items():
        total = int(np.prod(shape))
        kept = round(total * shares[name])
        layers.append(LayerDensity(name=name, shape=shape, kept=kept, density=kept / total))
    return Summary(
        data="fashion-mnist",
        fingerprint="5f" * 32,
        model="lenet5",
        method="dense" if dense else "safecompress",
        density=1.0 if dense else 0.05,
        layers=layers,
        parameters=61_706,
        accuracy={"test": 0.8991 if dense else 0.8862, "validation": 0.9002 if dense else 0.8881},
        epochs=30,
        seconds=312.4,
        seed=0,
        device="cpu",
        versions=VERSIONS,
        roles={
            "member_known": 2000,
            "member_eval": 2000,
            "nonmember_known": 2000,
            "nonmember_eval": 2000,
            "validation": 3600,
            "test": 10000,
        },
    )


def build(
    budget: dict[str, float] | None = None,
    classes: tuple[str, ...] = CLASSES,
    leak: float = 0.22,
    samples: int = 2000,
    files: tuple[str, ...] = FILES,
) -> Contents:
    """A whole report's contents: a compressed model and its dense control, everything exported, audited and timed."""
    dense_audits = {
        file: evidence(file, leak * 2.2, dense=True, members=samples, nonmembers=samples, classes=classes)
        for file in files
    }
    audits = {}
    for file in files:
        own = dense_audits[file]
        control = DenseControl(artifact=own.artifact, task=own.task, attacks=own.attacks)
        audits[file] = evidence(
            file, leak, budget=budget, members=samples, nonmembers=samples, classes=classes, control=control
        )
    recipe = 'name = "fashion"\nseed = 0\n\n[data]\nsource = "fashion-mnist"\n\n[method]\ndensity = 0.05\n'
    shipped = ModelResults(
        "safecompress, density 0.05",
        summary(),
        manifest(classes=classes),
        audits,
        {file: timing(file) for file in files},
        "runs/fashion",
    )
    dense = ModelResults(
        "dense control",
        summary(True),
        manifest(True, classes),
        dense_audits,
        {file: timing(file, True) for file in files},
        "runs/fashion/dense",
    )
    return Contents("fashion", recipe, (shipped, dense), VERSIONS)


@pytest.fixture(scope="session")
def make_contents() -> Callable[..., Contents]:
    return build


@pytest.fixture(scope="session")
def contents() -> Contents:
    return build(budget={"auc": 0.60})


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Evidence]:
    return evidence


@pytest.fixture(scope="session")
def make_timing() -> Callable[..., Timing]:
    return timing


def save_memorising(folder: Path) -> None:
    """A linear model.onnx that has learned random labels by heart, a coarser model.int8.onnx, members and non-members.

    Labels follow no rule, so nothing but the model tells m.npz from n.npz.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    x = draw.standard_normal((2, 240, 1024)).astype(np.float32)
    y = draw.integers(3, size=(2, 240))
    weight = np.linalg.lstsq(x[0], np.eye(3)[y[0]], rcond=None)[0].astype(np.float32)
    for name, stored in (("model.onnx", weight), ("model.int8.onnx", np.round(weight * 32) / 32)):
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "linear",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1024])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(stored.astype(np.float32), "w")],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(made, folder / name)
    np.savez(folder / "m.npz", x=x[0], y=y[0])
    np.savez(folder / "n.npz", x=x[1], y=y[1])


@pytest.fixture(scope="session")
def audits(tmp_path_factory: pytest.TempPathFactory) -> "Audits":
    """A real audit of two files of a model that has learned its members by heart; it fails a budget of four figures.

    The figures with other numbers of references are drawn, not audited.
    """
    from safedeploy.auditing import Audits, audit_files

    folder = tmp_path_factory.mktemp("audits")
    save_memorising(folder)
    found = audit_files(
        [folder / "model.onnx", folder / "model.int8.onnx"],
        members=folder / "m.npz",
        nonmembers=folder / "n.npz",
        attacks=["loss", "entropy"],
        budget={"auc": 0.6, "tpr@0.1": 0.2, "advantage": 0.1, "epsilon": 0.01},
    )
    controls = found.evidence[0].controls.model_copy(update={"references": [_effect(count) for count in (2, 16)]})
    first = found.evidence[0].model_copy(update={"controls": controls})
    return Audits([first, *found.evidence[1:]], found.comparisons)


def _effect(references: int) -> ReferenceEffect:
    draw = np.random.default_rng(references)
    inside, outside = draw.normal(0.1 * references, 1, 600), draw.normal(0, 1, 600)
    area, low, high = roc.auc_interval(inside, outside)
    rates = [roc.tpr_at_fpr(inside, outside, fpr) for fpr in (0.1, 0.01, 0.001, 0.0001)]
    return ReferenceEffect(attack="rmia", references=references, auc=area, auc_low=low, auc_high=high, tpr=rates)


@pytest.fixture
def memorising(home: Path) -> Path:
    """The working folder, with the files of `save_memorising`."""
    save_memorising(home)
    return home
