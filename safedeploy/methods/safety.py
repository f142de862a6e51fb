"""The safety test of SafeCompress: simulated attackers, kept warm, judged on known samples they did not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.remember import remember
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.methods.base import Context
from safedeploy.methods.testers import make_tester
from safedeploy.methods.testers.base import Effort, divide, some
from safedeploy.methods.testers.references import from_state, to_state, train_references


@dataclass(frozen=True, eq=False)
class Outcome:
    """One candidate: which validation samples it answers right, (n,), and the success of the `attack` by tester."""

    right: NDArray[np.bool_]
    attack: dict[str, float]

    @property
    def task(self) -> float:
        """Accuracy."""
        return float(self.right.mean())

    @property
    def strongest(self) -> float:
        """Of the testers, at least ½: what an attacker falls short of a coin toss is chance, not privacy."""
        return max(0.5, *self.attack.values())


def tm_scores(outcomes: Sequence[Outcome], exponent: float) -> list[float]:
    """TM-score: task accuracy over the strongest attacker's success (to `exponent`).

    The papers name it; this form is our reading.
    """
    return [outcome.task / outcome.strongest**exponent for outcome in outcomes]


def matched_scores(outcomes: Sequence[Outcome]) -> list[float]:
    """1 − the strongest attacker's success, for candidates as accurate as the best; for others how far they are behind.

    As accurate: behind by no more than a standard error of that difference, √(samples that only one of the two answers
    right) / n (McNemar 1947). So lost fit, which lowers attacks too, buys nothing.
    """
    best = max(outcomes, key=lambda outcome: outcome.task)
    scores = []
    for outcome in outcomes:
        error = float(np.sqrt((outcome.right != best.right).sum()) / len(best.right))
        behind = best.task - outcome.task
        scores.append(1 - outcome.strongest if behind <= error else -behind)
    return scores


@dataclass(frozen=True, eq=False)
class Observation:
    """A candidate's answers on validation, right or not, and what each tester wanted of it."""

    right: NDArray[np.bool_]
    seen: dict[str, Any]


class SafetyTest:
    """Testers learn from one half of the known samples, are judged on the other; never an evaluation role."""

    def __init__(self, context: Context, names: Sequence[str], samples: int, effort: Effort) -> None:
        self.context, self.effort = context, effort
        self.known = divide(context, samples)
        self.validation = some(context.validation, 2 * samples, context.seed)
        self.testers = {name: make_tester(name, self.known, context, effort) for name in names}
        self._inner = any(tester.inner for tester in self.testers.values())
        self._comparing = [tester for tester in self.testers.values() if tester.compares]

    def begin(self, module: nn.Module) -> None:
        """Before the first step: reference models are trained. Raises UserError where a tester cannot attack it."""
        artifact = self._artifact(module)
        for tester in self.testers.values():
            if not tester.compares:
                tester.begin(artifact)
        if self._comparing:
            references = train_references(self.known, self.context, self.effort)
            for tester in self._comparing:
                tester.references = references
                tester.begin(artifact)

    def observe(self, module: nn.Module) -> Observation:
        """One forward pass serves the task accuracy and every tester."""
        artifact = self._artifact(module)
        if self._inner:
            artifact.unpack()
        right = artifact.logits(self.validation.x).argmax(1) == self.validation.y
        return Observation(right, {name: tester.observe(artifact) for name, tester in self.testers.items()})

    def judge(self, observations: Sequence[Observation]) -> list[Outcome]:
        found = {name: tester.judge([one.seen[name] for one in observations]) for name, tester in self.testers.items()}
        return [
            Outcome(one.right, {name: values[number] for name, values in found.items()})
            for number, one in enumerate(observations)
        ]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"testers": {name: tester.state() for name, tester in self.testers.items()}}
        if self._comparing and self._comparing[0].references is not None:
            state["references"] = to_state(self._comparing[0].references, self.known)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        for name, tester in self.testers.items():
            tester.restore(state["testers"][name])
        if "references" in state:
            references = from_state(state["references"], self.known)
            for tester in self._comparing:
                tester.references = references

    def _artifact(self, module: nn.Module) -> Artifact:
        return remember(TorchArtifact(module, "candidate", self.context.input_shape, self.context.classes))
