"""What an audit says of one file (`audit/*.json`), and of two beside each other."""

from typing import Annotated, Literal

from pydantic import Field

from safedeploy.results.base import Access, ArtifactInfo, Probability, Result, ResultFile, SampleCounts, Signed
from safedeploy.results.inference import AttributeEvidence


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
    exposed: list[ExposedMember] = Field(default_factory=list)
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
    references: list[ReferenceEffect] = Field(default_factory=list)
    missing: dict[str, str] = Field(default_factory=dict)


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
    """What an audit found on one file (`audit/*.json`). `notes`: what a reader must know of how it was asked.

    `attribute`: of the sensitive column that the model never saw, where the data set has one.
    """

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
    attribute: AttributeEvidence | None = None
    notes: list[str] = Field(default_factory=list)
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
