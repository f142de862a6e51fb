"""The result files, typed: evidence of an audit, timings, an export's manifest, a training run's summary."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safedeploy.errors import UserError
from safedeploy.rundir import write_text

Access = Literal["black", "white"]
Probability = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]


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

    `low` and `high` are the Clopper-Pearson 95 % interval at the cut that was met; `null_high` the 95th percentile of
    the rate when members and non-members score alike; `resolvable` whether at least five false positives are expected
    at `fpr`. `joint_low` and `joint_high` also count that the cut itself came out of the samples, and hold for every
    attack of the audit together at 95 %. `p`: how often scores that know nothing reach this rate.
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
    joint_low: Probability | None = None
    joint_high: Probability | None = None
    p: Probability | None = None


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


class OwnCut(Result):
    """An attack at its own cut, chosen on its known samples: how many of each side it calls members.

    `advantage` is TPR − FPR there (Yeom et al. 2018), with its 95 % interval, alone and for all attacks together.
    `ratio_low` is Bailey's lower bound of TPR / FPR at 95 %: a called sample is that many times likelier a member.
    """

    true_positives: int
    false_positives: int
    advantage: Signed
    low: Signed
    high: Signed
    joint_low: Signed
    joint_high: Signed
    ratio_low: Annotated[float, Field(ge=0)]


class EpsilonBound(Result):
    """A lower bound on the ε of training at `delta`, from one model (Steinke et al. 2023), at `confidence`.

    `correct` of `guesses` samples called members were; `low` is the bound for this attack alone, `joint_low` the one
    that holds for every attack of the audit together, `most` what `joint_low` had been with every guess right.
    """

    low: Annotated[float, Field(ge=0)]
    joint_low: Annotated[float, Field(ge=0)]
    most: Annotated[float, Field(ge=0)]
    delta: Probability
    confidence: Probability
    guesses: int
    correct: int


class ExposedMember(Result):
    """A training example the attack is surest of. `index`: its place among the members given.

    `false_positives` of the non-members judged score as high or higher; `fpr` is their share.
    """

    index: int
    label: str
    false_positives: int
    fpr: Probability


class HardestTenth(Result):
    """AUC among the tenth of samples that are hardest `by` a measure no membership enters, so nothing is picked."""

    by: Literal["references", "class-centre"]
    members: int
    nonmembers: int
    auc: Probability
    auc_low: Probability
    auc_high: Probability


class AttackEvidence(Result):
    """One attack's figures on the evaluation samples. Intervals are 95 %; `auc_joint_…` for all attacks together.

    `auc_p`: how often scores that know nothing reach this AUC. `exposed`: the members it is surest of, surest first.
    """

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
    auc_joint_low: Probability | None = None
    auc_joint_high: Probability | None = None
    auc_p: Probability | None = None
    own_cut: OwnCut | None = None
    epsilon: EpsilonBound | None = None
    exposed: list[ExposedMember] = []
    hardest: HardestTenth | None = None


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


class SameAttack(Result):
    """One attack in the A/A control: in `rate` of the splits its own 95 % interval of AUC leaves out ½.

    `auc_low` and `auc_high`: the central 95 % of its AUCs.
    """

    name: str
    rate: Probability
    auc_low: Probability
    auc_high: Probability


class SameControl(Result):
    """A/A: non-members against non-members. They are split in halves at random, and one half is called members.

    `alarms` splits of `splits` have an attack whose interval, corrected for the number of attacks, leaves out ½;
    `low` and `high` bound their share at 99 %. `calibrated`: that share may be as low as `nominal`.
    """

    splits: int
    alarms: int
    rate: Probability
    low: Probability
    high: Probability
    nominal: Probability
    calibrated: bool
    attacks: list[SameAttack]


class NullFigure(Result):
    """The best of an audit's attacks on a model that leaks nothing: mean and 95th percentile of a figure."""

    figure: str
    mean: Probability
    high: Probability


class NullBand(Result):
    """What these attacks' scores give where membership is drawn afresh, `draws` times, for all of them together."""

    attacks: int
    draws: int
    figures: list[NullFigure]


class ReferenceEffect(Result):
    """An attack with fewer or more reference models, everything else alike."""

    attack: str
    references: int
    auc: Probability
    auc_low: Probability
    auc_high: Probability
    tpr: list[TprAtFpr]


class Controls(Result):
    """A control that could not be had is None, and `missing` says why under its name."""

    correctness: CorrectnessControl
    blind: BlindControl | None
    dense: DenseControl | None
    same: SameControl | None = None
    references: list[ReferenceEffect] = []
    missing: dict[str, str] = {}


class Verdict(Result):
    """`none`: no budget was given. `inconclusive`: the samples are too few, or the controls forbid an answer.

    `needed`: about how many samples judged would decide, where more of them would.
    """

    outcome: Literal["pass", "fail", "inconclusive", "none"]
    budget: dict[str, float]
    worst_attack: str
    reason: str
    needed: SampleCounts | None = None


class CanaryEvidence(Result):
    """Examples put into training or left out by fair coins, scored by the loss under the label they were trained with.

    `included` of `canaries` were in. `epsilon` bounds training itself, whatever the members are (Steinke et al. 2023).
    """

    canaries: int
    included: int
    kind: Literal["mislabelled", "natural"]
    auc: Probability
    auc_low: Probability
    auc_high: Probability
    epsilon: EpsilonBound


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
    null: NullBand | None = None
    canaries: CanaryEvidence | None = None
    notes: list[str] = []
    versions: dict[str, str]

    @property
    def worst(self) -> AttackEvidence:
        return next(attack for attack in self.attacks if attack.name == self.verdict.worst_attack)


class Comparison(Result):
    """One attack on two files, on the same samples: `difference` is the second file's `figure` minus the first's.

    The interval is 95 %. `p`: two-sided, of no difference. AUC by the paired test of DeLong et al. (1988), a rate by
    the paired bootstrap.
    """

    first: str
    second: str
    attack: str
    figure: str
    first_value: Probability
    second_value: Probability
    difference: Signed
    low: Signed
    high: Signed
    p: Probability


class ValueAuc(Result):
    """AUC of telling the samples that hold a value of the sensitive column from those that hold another."""

    value: str
    samples: int
    auc: Probability
    low: Probability
    high: Probability


class AttributeFigures(Result):
    """How well a hidden column was guessed. `auc`: the mean of `per_value`."""

    accuracy: Probability
    accuracy_low: Probability
    accuracy_high: Probability
    auc: Probability
    auc_low: Probability
    auc_high: Probability
    per_value: list[ValueAuc]


class AttributeAdvantage(Result):
    """A difference of two accuracies or AUCs, or of two such differences, with its 95 % interval."""

    value: float
    low: float
    high: float


class AttributeSide(Result):
    """One attribute attack on members, or on non-members, and what it adds to imputation on the same samples.

    `gained` samples the attack alone guesses right, `lost` the imputation alone; `mcnemar_p` of the two.
    """

    figures: AttributeFigures
    auc_advantage: AttributeAdvantage
    accuracy_advantage: AttributeAdvantage
    gained: int
    lost: int
    mcnemar_p: Probability


class AttributeAttackEvidence(Result):
    """`memorised_…`: the advantage on members minus that on non-members.

    `finding`, at 95 % for all attacks together: `memorised`, the file adds to imputation on members, and more than on
    non-members; `general`, it adds on non-members too, so it knows the relation and not the person; `unresolved`, it
    adds on members, and the samples do not show whether more; `nothing`, it adds nothing that the samples show.
    """

    name: str
    labels_only: bool
    members: AttributeSide
    nonmembers: AttributeSide
    memorised_auc: AttributeAdvantage
    memorised_accuracy: AttributeAdvantage
    finding: Literal["memorised", "general", "unresolved", "nothing"]


class AttributeEvidence(ResultFile):
    """What a file gives away of a sensitive column to one who knows all other columns and the label.

    `unseen`: samples left out, as no known sample holds their value. `imputation_…`: the same learner without the file.
    `commonest`: accuracy of always guessing the commonest value, on members and on non-members. `finding`: that of the
    attack that shows most; `inconclusive` where the blind control tells members from non-members.
    """

    column: str
    columns: list[int]
    values: list[str]
    samples: SampleCounts
    known: SampleCounts
    unseen: SampleCounts
    imputation_members: AttributeFigures
    imputation_nonmembers: AttributeFigures
    commonest: list[Probability]
    attacks: list[AttributeAttackEvidence]
    finding: Literal["memorised", "general", "unresolved", "nothing", "inconclusive"]


class InvertedClass(Result):
    """One class rebuilt. `confidence`: the file's own p for it, which says that the ascent worked and nothing else.

    `similarity`: cosine of the rebuilt input with the mean of the members judged, both less the average known sample;
    `rank`: place of the own class's mean among all classes' by it, 1 is nearest. `known_…`: of the known samples' mean.
    """

    label: str
    confidence: Probability
    similarity: float
    rank: int
    known_similarity: float
    known_rank: int


class Resemblance(Result):
    """How one input a class resembles the samples judged, averaged over classes.

    `members` and `nonmembers`: cosine with their own class's mean. `others`: with other classes' members. `first`:
    classes whose own mean is the nearest. `permutation_p`: how often inputs dealt to classes at random reach `members`.
    `closer`: mean cosine with single members minus that with non-members of the class, with its 95 % interval.
    """

    members: float
    nonmembers: float
    others: float
    first: int
    permutation_p: Probability
    closer: float
    closer_low: float
    closer_high: float


class InversionEvidence(ResultFile):
    """Class-representative inversion: typical inputs rebuilt from the file (Fredrikson et al. 2015).

    `known`: the baseline that never saw the file, each class's mean of the attacker's known samples. The average known
    sample has cosine 0 with every mean. `finding`: `members`, the rebuilt inputs are closer to members than to others
    of the class; `class`, they show what the class is like; `nothing`, not even that; `inconclusive`, there are fewer
    than four classes, or they are closer to members and so is the blind control.
    """

    access: Access
    queries: int
    classes: list[InvertedClass]
    inversion: Resemblance
    known: Resemblance
    samples: SampleCounts
    finding: Literal["members", "class", "nothing", "inconclusive"]


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
