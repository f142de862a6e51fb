"""What the checks of a bundle found (`verify/TARGET.json`)."""

from typing import Literal

from pydantic import Field

from safedeploy.results.base import Probability, Result, ResultFile


class Outcome(Result):
    """One check. `passed`: None where it could not be made; `detail` says what was found, or why not."""

    check: str
    passed: bool | None
    detail: str


class Answers(Result):
    """A file's answers in its runtime against the torch model's on the same real inputs, none of them calibrated on.

    Accuracies have Clopper and Pearson's 95 % interval.
    """

    samples: int
    max_logit_difference: float
    mean_logit_difference: float
    top1_agreement: Probability
    accuracy: Probability
    accuracy_low: Probability
    accuracy_high: Probability
    torch_accuracy: Probability
    torch_accuracy_low: Probability
    torch_accuracy_high: Probability


class BatchAnswers(Result):
    """`max_logit_difference`: of a batch of `size` to the same inputs' answers among all; None where not finite."""

    size: int
    max_logit_difference: float | None


class ExtremeAnswers(Result):
    """What one unusual input gets; `torch` is what the model itself gives, where it was asked."""

    input: str
    answers: Literal["finite", "not finite", "refused", "crashed"]
    torch: Literal["finite", "not finite"] | None = None
    max_logit_difference: float | None = None


class Saturation(Result):
    """Shares of values over a step beyond the range an int8 file holds of them, on inputs that did not set the ranges.

    `activations`: of all values that are rounded; `worst`: the tensor with the largest share; `logits`: of the file's
    answers, None where they are not rounded.
    """

    samples: int
    tensors: int
    activations: Probability
    worst: str
    worst_share: Probability
    logits: Probability | None


class FileVerification(Result):
    """One file of a bundle; figures are None or empty where their check was not made."""

    name: str
    passed: bool
    outcomes: list[Outcome]
    answers: Answers | None = None
    batches: list[BatchAnswers] = Field(default_factory=list)
    extremes: list[ExtremeAnswers] = Field(default_factory=list)
    saturation: Saturation | None = None


class Verification(ResultFile):
    """A bundle, checked (`verify/TARGET.json` in its run). `samples`: real inputs asked; `inputs`: which.

    `outcomes`: of the bundle as a whole. `not_checked`: what could not be, and why. `versions`: that checked.
    """

    bundle: str
    target: str
    model: str
    passed: bool
    samples: int
    inputs: str
    outcomes: list[Outcome]
    files: list[FileVerification]
    not_checked: list[str]
    versions: dict[str, str]

    @property
    def failures(self) -> list[str]:
        """'file: check: detail' of every check that failed, the bundle's own first."""
        own = [f"{one.check}: {one.detail}" for one in self.outcomes if one.passed is False]
        return own + [
            f"{file.name}: {one.check}: {one.detail}"
            for file in self.files
            for one in file.outcomes
            if one.passed is False
        ]
