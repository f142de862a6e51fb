"""The safety test of SafeCompress: simulated attackers, kept warm, judged on known samples they did not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safedeploy.artifacts.base import Features, Unopenable
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.membership import neural, neural_black, neural_white
from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.seeds import derive, numpy_generator

AttackerName = Literal["black", "white"]


@dataclass(frozen=True)
class Outcome:
    """One candidate: `task` accuracy on validation, `attack` balanced accuracy by attacker."""

    task: float
    attack: dict[AttackerName, float]

    def score(self, exponent: float) -> float:
        """TM-score: task accuracy over the strongest attacker's accuracy (to `exponent`).

        The papers name it; this form is our reading. An attacker below ½ counts as ½: what it falls short of a coin
        toss is chance, not privacy.
        """
        return float(self.task / max(0.5, *self.attack.values()) ** exponent)


@dataclass(frozen=True, eq=False)
class Observation:
    """A candidate's answers on the four parts of the known samples, and its task accuracy."""

    task: float
    inputs: dict[AttackerName, list[neural.Inputs]]


class SafetyTest:
    """Fits attackers on one half of the known samples, judges on the other half; never sees an evaluation role."""

    def __init__(
        self, context: Context, attackers: tuple[AttackerName, ...], samples: int, first_steps: int, steps: int
    ) -> None:
        self.context, self.names = context, attackers
        self.first_steps, self.steps = first_steps, steps
        self.attackers: dict[AttackerName, nn.Module] = {}
        self.tests = 0
        halves = [_halves(side, samples, context.seed) for side in (context.members, context.nonmembers)]
        self._known = [half for pair in halves for half in pair]  # members: fit, judge; non-members: fit, judge
        validation = _some(context.validation, 2 * samples, context.seed)
        self._labels = [part.y for part in (*self._known, validation)]
        self._x = np.concatenate([part.x for part in (*self._known, validation)])
        self._cuts = np.cumsum([len(labels) for labels in self._labels])[:-1]

    def require_open(self, module: nn.Module) -> None:
        """Raises UserError where the white-box attacker cannot look inside."""
        if "white" in self.names:
            try:
                self._artifact(module).unpack()
            except Unopenable as closed:
                raise UserError(f"no white-box attacker can be simulated: {closed}; use --attacker black") from None

    def observe(self, module: nn.Module) -> Observation:
        """One forward pass serves the task accuracy and every attacker."""
        artifact = self._artifact(module)
        if "white" in self.names:
            features = artifact.unpack().features(self._x)
        else:
            features = _without_penultimate(artifact.logits(self._x))
        logits, penultimate = (np.split(part, self._cuts) for part in (features.logits, features.penultimate))
        task = float((logits[-1].argmax(1) == self._labels[-1]).mean())
        inputs: dict[AttackerName, list[neural.Inputs]] = {
            name: [_inputs(name, Features(logits[i], penultimate[i]), self._labels[i]) for i in range(4)]
            for name in self.names
        }
        return Observation(task, inputs)

    def judge(self, observations: Sequence[Observation]) -> list[Outcome]:
        """The attackers train on all candidates' answers together: one fit serves all, and all meet the same one."""
        attack: list[dict[AttackerName, float]] = [{} for _ in observations]
        for name in self.names:
            fit_in, _, fit_out, _ = (_pool([seen.inputs[name][part] for seen in observations]) for part in range(4))
            cold = name not in self.attackers
            if cold:
                self.attackers[name] = self._fitted_scale(name, fit_in, fit_out)
            network = self.attackers[name]
            steps = self.first_steps if cold else self.steps
            seed = derive(self.context.seed, "safety test", self.tests)
            neural.train_steps(network, fit_in, fit_out, steps, neural.Fitting(batch_size=64), seed)
            for number, seen in enumerate(observations):
                caught = (neural.score(network, seen.inputs[name][1]) > 0).mean()
                spared = (neural.score(network, seen.inputs[name][3]) <= 0).mean()
                attack[number][name] = 0.5 * float(caught + spared)
        self.tests += 1
        return [Outcome(seen.task, found) for seen, found in zip(observations, attack, strict=True)]

    def state(self) -> dict[str, Any]:
        attackers = {name: network.state_dict() for name, network in self.attackers.items()}
        return {"tests": self.tests, "attackers": attackers}

    def restore(self, state: dict[str, Any]) -> None:
        self.tests = state["tests"]
        for name, weights in state["attackers"].items():
            width = len(weights["standardise_features.std"]) if name == "white" else 0
            self.attackers[name] = self._network(name, width)
            self.attackers[name].load_state_dict(weights)

    def _artifact(self, module: nn.Module) -> TorchArtifact:
        return TorchArtifact(module, "candidate", self.context.input_shape, self.context.classes)

    def _network(self, name: AttackerName, features: int) -> nn.Module:
        if name == "black":
            return neural_black.make_network(self.context.classes, self.context.seed)
        return neural_white.make_network(self.context.classes, features, self.context.seed)

    def _fitted_scale(self, name: AttackerName, members: neural.Inputs, nonmembers: neural.Inputs) -> nn.Module:
        network = self._network(name, members[-1].shape[1] if name == "white" else 0)
        network.fit_scale(*(torch.cat([a, b]) for a, b in zip(members, nonmembers, strict=True)))  # type: ignore[operator]
        return network


def _without_penultimate(logits: NDArray[np.float32]) -> Features:
    return Features(logits, np.empty((len(logits), 0), np.float32))


def _pool(parts: Sequence[neural.Inputs]) -> neural.Inputs:
    return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))


def _inputs(name: AttackerName, features: Features, labels: NDArray[np.int64]) -> tuple[Tensor, ...]:
    return neural_black.inputs(features.logits, labels) if name == "black" else neural_white.inputs(features, labels)


def _halves(side: Samples, samples: int, seed: int) -> tuple[Samples, Samples]:
    """Two disjoint halves of at most `samples` each, drawn by seed."""
    drawn = _some(side, 2 * min(samples, len(side.y) // 2), seed)
    return Samples(drawn.x[0::2], drawn.y[0::2]), Samples(drawn.x[1::2], drawn.y[1::2])


def _some(side: Samples, samples: int, seed: int) -> Samples:
    chosen = numpy_generator(seed, "safety test").permutation(len(side.y))[:samples]
    return Samples(side.x[chosen], side.y[chosen])
