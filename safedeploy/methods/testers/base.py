"""What a tester is: one attack that every candidate is tested against, on known samples that it was not fitted on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.references import References
from safedeploy.data.samples import Samples, joined
from safedeploy.methods.base import Context
from safedeploy.roc import auc
from safedeploy.seeds import numpy_generator


@dataclass(frozen=True, eq=False)
class Known:
    """members, nonmembers: what a tester may learn from. judged: others, of which `inside` (n,) tells the members.

    A candidate's answers on these three are kept by its artifact: several testers that ask share one forward pass.
    """

    members: Samples
    nonmembers: Samples
    judged: Samples
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Effort:
    """first_steps, steps: of a neural attacker's optimiser at the first test and at each later one.

    references: reference models, trained `reference_method` for the share `reference_epochs` of the recipe's epochs.
    """

    first_steps: int = 40
    steps: int = 10
    references: int = 4
    reference_method: str = "dense"
    reference_epochs: float = 0.25


class Tester(ABC):
    """A tester overrides `observe` and `judge`, and the rest where it is more than a formula."""

    inner = False  # whether it reads features, which then give the logits too
    compares = False  # whether it needs the safety test's reference models
    references: References | None = None  # those, from `begin` on

    def __init__(self, known: Known, context: Context, effort: Effort) -> None:
        self.known, self.context, self.effort = known, context, effort

    def begin(self, artifact: Artifact) -> None:  # noqa: B027 (most testers make nothing)
        """Before the first step: what is made once. Raises UserError where `artifact`, untrained, cannot be tested."""

    @abstractmethod
    def observe(self, artifact: Artifact) -> Any:
        """What is wanted of a candidate, whose weights are in `artifact` now and not when it is judged."""

    @abstractmethod
    def judge(self, observed: Sequence[Any]) -> list[float]:
        """The attack's success on each candidate: ½ is chance, 1 is certainty, and below ½ is chance too.

        All of one test come together, so that one fit serves all and all meet the same attacker.
        """

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers, strings and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 (most keep nothing)
        """Take back what `state` gave; `begin` is not called."""

    def success(self, scores: NDArray[np.float64]) -> float:
        """AUC of scores (n,) of `known.judged`: the accuracy of an attacker that is shown one of each side."""
        return auc(scores[self.known.inside], scores[~self.known.inside])


def divide(context: Context, samples: int) -> Known:
    """At most `samples` known members to learn from and as many to be judged on, and so of the known non-members."""
    sides = [_halves(side, samples, context.seed) for side in (context.members, context.nonmembers)]
    (learn_in, judge_in), (learn_out, judge_out) = sides
    inside = np.repeat([True, False], [len(judge_in.y), len(judge_out.y)])
    return Known(learn_in, learn_out, joined(judge_in, judge_out), inside)


def some(side: Samples, most: int, seed: int) -> Samples:
    """At most `most` samples, drawn by seed."""
    return side.at(numpy_generator(seed, "safety test").permutation(len(side.y))[:most])


def _halves(side: Samples, samples: int, seed: int) -> tuple[Samples, Samples]:
    drawn = some(side, 2 * min(samples, len(side.y) // 2), seed)
    return drawn.at(slice(0, None, 2)), drawn.at(slice(1, None, 2))
