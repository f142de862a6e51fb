"""An exported file's answers in its real runtime against the torch model's, and whether they are close enough."""

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError
from safedeploy.export.targets import Precision, Target
from safedeploy.results import Check

Logits = NDArray[np.float32]


class OutOfTolerance(UserError):  # noqa: N818
    """An exported file strays from the torch model further than its target allows; the message has the figures."""

    exit_code = 1


def compare(answers: Logits, reference: Logits, y: NDArray[np.int64]) -> Check:
    """A file's finite answers (n, classes) beside the torch model's, with labels y (n,)."""
    difference = np.abs(answers - reference)
    chosen, wanted = answers.argmax(axis=1), reference.argmax(axis=1)
    return Check(
        samples=len(y),
        max_logit_difference=float(difference.max()),
        mean_logit_difference=float(difference.mean()),
        top1_agreement=float((chosen == wanted).mean()),
        accuracy=float((chosen == y).mean()),
        torch_accuracy=float((wanted == y).mean()),
    )


def require(found: Check, name: str, precision: Precision, target: Target, reference: Logits) -> None:
    """Raises OutOfTolerance, with the figures, when `found` is beyond what `target` allows a file of this precision."""
    scale = float(np.abs(reference).max())
    lost = round(
        found.torch_accuracy - found.accuracy, 9
    )  # 0.90 − 0.88 is 0.02 to a user, and a little more to a float
    if precision == "float32" and not target.rounding(name):
        share = target.tolerance.float32.logit_difference
        close = found.max_logit_difference <= share * scale
        allowed = f"a logit difference of at most {share:g} of the largest logit"
    else:
        limits = target.tolerance.int8
        close = found.top1_agreement >= limits.top1_agreement and lost <= limits.accuracy_lost
        allowed = f"agreement of {limits.top1_agreement:g} or more and a loss of {limits.accuracy_lost:g} or less"
    if not close:
        raise OutOfTolerance(
            f"{name} strays from the torch model on {found.samples} validation inputs: "
            f"max logit difference {found.max_logit_difference:.3g} (largest logit {scale:.3g}), "
            f"top-1 agreement {found.top1_agreement:.3f}, accuracy lost {lost:.3f}; "
            f"target '{target.name}' allows {allowed}; "
            f"give more calibration inputs, or a target file of your own with another tolerance or without {name}"
        )
