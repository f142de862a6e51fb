"""What a tester is: one attack that every candidate is tested against, on known samples that it was not fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.references import References
from safedeploy.data.samples import Samples
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


class Tester:
    """A tester overrides `observe` and `judge`, and the rest where it is more than a formula."""

    inner = False  # whether it reads features, which then give the logits too
    compares = False  # whether it needs the safety test's reference models
    references: References | None = None  # those, from `begin` on

    def __init__(self, known: Known, context: Context, effort: Effort) -> None:
        self.known, self.context, self.effort = known, context, effort

    def begin(self, artifact: Artifact) -> None:
        """Before the first step: what is made once. Raises UserError where `artifact`, untrained, cannot be tested."""

    def observe(self, artifact: Artifact) -> Any:
        """What is wanted of a candidate, whose weights are in `artifact` now and not when it is judged."""
        raise NotImplementedError

    def judge(self, observed: Sequence[Any]) -> list[float]:
        """The attack's success on each candidate: ½ is chance, 1 is certainty, and below ½ is chance too.

        All of one test come together, so that one fit serves all and all meet the same attacker.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers, strings and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
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
    return rows(side, numpy_generator(seed, "safety test").permutation(len(side.y))[:most])


def rows(side: Samples, chosen: NDArray[Any] | slice) -> Samples:
    """These samples with everything that is kept of each."""
    parts = {field.name: getattr(side, field.name) for field in fields(side)}
    return replace(side, **{name: part[chosen] for name, part in parts.items() if part is not None})


def joined(first: Samples, second: Samples) -> Samples:
    """One after the other, with everything that is kept of each."""
    parts = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(first)}
    there = {name: np.concatenate(pair) for name, pair in parts.items() if all(part is not None for part in pair)}
    return replace(first, **there)


def _halves(side: Samples, samples: int, seed: int) -> tuple[Samples, Samples]:
    drawn = some(side, 2 * min(samples, len(side.y) // 2), seed)
    return rows(drawn, slice(0, None, 2)), rows(drawn, slice(1, None, 2))
