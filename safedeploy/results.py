"""The result files, typed: evidence of an audit, timings, an export's manifest, a training run's summary."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safedeploy.errors import UserError
from safedeploy.rundir import write_text

Access = Literal["black", "white"]
Probability = Annotated[float, Field(ge=0, le=1)]


class Result(BaseModel):
    """Base of everything written to disk: unknown fields are refused, infinities too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class ResultFile(Result):
    """A result that is a file of its own; `schema` is the version a reader checks."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")

    def write(self, path: Path) -> None:
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}." for part in first["loc"])[:-1]
            fault = f"{where}: {first['msg']}" if where else first["msg"]
            raise UserError(f"{path} is not a {cls.__name__} file: {fault}; make it again") from None


class ArtifactInfo(Result):
    """What was attacked or timed. `zip_bytes` is the size of a zip holding the file alone, deflate level 9."""

    path: str
    sha256: str
    format: Literal["onnx", "executorch", "torch", "scores"]
    size_bytes: int
    zip_bytes: int


class SampleCounts(Result):
    members: int
    nonmembers: int


class TprAtFpr(Result):
    """True-positive rate at the largest realised false-positive rate not above `fpr`.

    `low` and `high` are the Clopper-Pearson 95 % interval; `null_high` the 95th percentile of the rate when members and
    non-members score alike; `resolvable` whether at least five false positives are expected at `fpr`.
    """

    fpr: Probability
    tpr: Probability
    low: Probability
    high: Probability
    realised_fpr: Probability
    true_positives: int
    false_positives: int
    null_high: Probability
    resolvable: bool


class Curve(Result):
    """A ROC curve, thinned for drawing: `fpr` and `tpr` have equal length and do not decrease."""

    fpr: list[float]
    tpr: list[float]


class Histogram(Result):
    """Counts of scores in equal bins; `edges` is one longer than the counts."""

    edges: list[float]
    members: list[int]
    nonmembers: list[int]


class ClassLeakage(Result):
    """AUC of one attack among the samples of one class."""

    label: str
    members: int
    nonmembers: int
    auc: Probability
    auc_low: Probability
    auc_high: Probability


class AttackEvidence(Result):
    """One attack's figures on the evaluation samples. Intervals are 95 %."""

    name: str
    access: Access
    references: int = 0
    auc: Probability
    auc_low: Probability
    auc_high: Probability
    balanced_accuracy: Probability
    balanced_accuracy_low: Probability
    balanced_accuracy_high: Probability
    tpr: list[TprAtFpr]
    roc: Curve
    histogram: Histogram
    per_class: list[ClassLeakage]


class AttackNotRun(Result):
    name: str
    access: Access
    reason: str


class Task(Result):
    """Accuracy of the artifact itself; `member_accuracy` and `nonmember_accuracy` are of the evaluation roles."""

    member_accuracy: Probability
    nonmember_accuracy: Probability
    test_accuracy: Probability | None = None


class CorrectnessControl(Result):
    """'Member if the prediction is right': what the accuracy gap alone gives an attacker, 0.5 (1 + train − test)."""

    attack_accuracy: Probability
    low: Probability
    high: Probability


class BlindControl(Result):
    """A classifier that sees the inputs and never the model.

    `shifted`: it tells the two sets apart, so they differ in distribution.
    """

    auc: Probability
    auc_low: Probability
    auc_high: Probability
    shifted: bool


class DenseControl(Result):
    """The same file of a dense model trained equally long on the same split, attacked the same way."""

    artifact: ArtifactInfo
    task: Task
    attacks: list[AttackEvidence]


class Controls(Result):
    """A control that could not be had is None, and `missing` says why under its name."""

    correctness: CorrectnessControl
    blind: BlindControl | None
    dense: DenseControl | None
    missing: dict[str, str] = {}


class Verdict(Result):
    """`none`: no budget was given. `inconclusive`: the samples are too few, or the controls forbid an answer."""

    outcome: Literal["pass", "fail", "inconclusive", "none"]
    budget: dict[str, float]
    worst_attack: str
    reason: str


class Evidence(ResultFile):
    """What an audit found on one file (`audit/*.json`). `notes`: what a reader must know of how it was asked."""

    artifact: ArtifactInfo
    samples: SampleCounts
    known: SampleCounts
    task: Task
    attacks: list[AttackEvidence]
    not_run: list[AttackNotRun]
    controls: Controls
    verdict: Verdict
    notes: list[str] = []
    versions: dict[str, str]

    @property
    def worst(self) -> AttackEvidence:
        return next(attack for attack in self.attacks if attack.name == self.verdict.worst_attack)


class Percentiles(Result):
    """Latency of one query, milliseconds."""

    p50: float
    p90: float
    p99: float
    mean: float
    queries: int
    seconds: float


class Ratio(Result):
    """This file's median latency over the first file's, from alternating blocks.

    The interval is the 2.5th to 97.5th percentile of block ratios.
    """

    baseline: str
    median: float
    low: float
    high: float
    blocks: int


class Timing(ResultFile):
    """One file timed on one device (`bench/*.json`).

    `peak_memory_bytes` is the resident peak of a process that holds this file alone.
    """

    artifact: ArtifactInfo
    device: str
    machine: dict[str, str]
    runtime: str
    threads: int
    protocol: Literal["quick", "full"]
    batch: int
    cold_load_ms: float
    first_inference_ms: float
    latency_ms: Percentiles
    peak_memory_bytes: int
    baseline_memory_bytes: int
    ratio: Ratio | None = None


class Preprocessing(Result):
    """(x · `scale` − mean) / std, per channel or column; `raw` says what x is before it."""

    raw: str
    scale: float
    mean: list[float]
    std: list[float]


class Check(Result):
    """A file's answers in its real runtime against the torch model's, on real validation inputs."""

    samples: int
    max_logit_difference: float
    mean_logit_difference: float
    top1_agreement: Probability
    accuracy: Probability
    torch_accuracy: Probability


class Delegation(Result):
    """ExecuTorch: operators the delegate took, and those it left to the portable kernels (name and count)."""

    delegate: str
    delegated: int
    left: dict[str, int]


class BundleFile(Result):
    name: str
    runtime: Literal["onnxruntime", "executorch"]
    precision: Literal["float32", "int8"]
    sha256: str
    size_bytes: int
    zip_bytes: int
    check: Check
    delegation: Delegation | None = None


class Manifest(ResultFile):
    """What ships (`bundle/TARGET/manifest.json`): nothing in it identifies a training example.

    `versions` made and checked the files; `runtimes` is the package and first version that run them on the target.
    """

    target: str
    model: str
    input_shape: list[int]
    input_dtype: Literal["float32"]
    input_layout: Literal["NCHW", "NF"]
    output: Literal["logits"]
    preprocessing: Preprocessing
    classes: list[str]
    files: list[BundleFile]
    versions: dict[str, str]
    runtimes: dict[Literal["onnxruntime", "executorch"], str] = {}


class StoredTensor(Result):
    """A constant in a model file, as it is stored; `density` is the share of its values that are not zero."""

    name: str
    dtype: str
    shape: list[int]
    nonzero: int
    density: Probability
    size_bytes: int


class Inspection(ResultFile):
    """What a model file holds. `white_box`: why it cannot be opened, or empty. `tensors`: None where hidden."""

    artifact: ArtifactInfo
    input_shape: list[int]
    classes: int
    white_box: str
    operators: dict[str, int]
    tensors: list[StoredTensor] | None


class LayerDensity(Result):
    name: str
    shape: list[int]
    kept: int
    density: Probability


class Summary(ResultFile):
    """What training produced (`summary.json`): accuracy by role, densities, examples by role, cost."""

    data: str
    fingerprint: str
    model: str
    method: str
    density: Probability
    layers: list[LayerDensity]
    parameters: int
    accuracy: dict[str, float]
    epochs: int
    seconds: float
    seed: int
    device: str
    versions: dict[str, str]
    roles: dict[str, int]


class Served(Result):
    """Why a file has no answers of its own in a ReferenceSet: `by` has the same weights in the same precision.

    `max_logit_difference`: the most by which the audited model's two files can have differed where they were checked.
    """

    by: str
    max_logit_difference: float


class ReferenceSet(ResultFile):
    """What the reference models of one folder are (`references/references.json`).

    `made_for`: the run or the files whose pool they halve. `fingerprint`: of the data. `recipe`: all that decides a
    reference beside its number. `count`: how many were asked for; a cut-off build has fewer. `views`: answers a sample.
    `files`: the exported files that answered. `pool`: samples. `versions`: that began the folder.
    """

    made_for: str
    fingerprint: str
    recipe: dict[str, Any]
    model: str
    method: str
    seed: int
    count: int
    views: int
    files: list[str]
    served: dict[str, Served] = {}
    pool: int
    versions: dict[str, str]
