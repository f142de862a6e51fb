"""What a file gives away besides membership: a hidden column, and what its classes look like."""

from typing import Literal

from pydantic import Field

from safedeploy.results.base import Access, Probability, Result, ResultFile, SampleCounts


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
    """One attribute attack on members, or on non-members, and what it adds to its baseline on the same samples.

    `gained` samples the attack alone guesses right, `lost` the baseline alone; `mcnemar_p` of the two.
    """

    figures: AttributeFigures
    auc_advantage: AttributeAdvantage
    accuracy_advantage: AttributeAdvantage
    gained: int
    lost: int
    mcnemar_p: Probability


class AttributeAttackEvidence(Result):
    """`memorised_…`: the advantage on members minus that on non-members.

    `over`: the baseline it is held against, the inputs and the label, or the label alone, each without the file.
    `finding`, at 95 % for all attacks together: `memorised`, the file adds to the baseline on members, and more than on
    non-members; `general`, it adds on non-members too, so it knows the relation and not the person; `unresolved`, it
    adds on members, and the samples do not show whether more; `nothing`, it adds nothing that the samples show.
    """

    name: str
    labels_only: bool
    access: Access = "black"
    over: Literal["inputs", "label"] = "inputs"
    members: AttributeSide
    nonmembers: AttributeSide
    memorised_auc: AttributeAdvantage
    memorised_accuracy: AttributeAdvantage
    finding: Literal["memorised", "general", "unresolved", "nothing"]


class AttributeEvidence(ResultFile):
    """What a file gives away of a sensitive column to one who knows all other columns and the label.

    `withheld`: the model never saw the column, and `columns` is empty. `unseen`: samples left out, as no known sample
    holds their value. `imputation_…`: the same learner without the file, `label_…` from the label alone (`withheld`).
    `commonest`: accuracy of always guessing the commonest value, on members and on non-members. `finding`: that of the
    attack over the inputs that shows most; `inconclusive` where the blind control tells members from non-members.
    `not_run`: attacks by name, with the reason.
    """

    column: str
    columns: list[int]
    withheld: bool = False
    values: list[str]
    samples: SampleCounts
    known: SampleCounts
    unseen: SampleCounts
    imputation_members: AttributeFigures
    imputation_nonmembers: AttributeFigures
    label_members: AttributeFigures | None = None
    label_nonmembers: AttributeFigures | None = None
    commonest: list[Probability]
    attacks: list[AttributeAttackEvidence]
    not_run: dict[str, str] = Field(default_factory=dict)
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
