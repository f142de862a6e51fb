"""What the neural testers share: an attacker kept warm from test to test, and fitted once for all candidates."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from safedeploy.attacks.membership import neural
from safedeploy.methods.base import Context
from safedeploy.methods.testers.base import Effort, Known, Tester
from safedeploy.seeds import derive

Observed = tuple[neural.Inputs, neural.Inputs, neural.Inputs]  # of known.members, known.nonmembers, known.judged

FITTING = neural.Fitting(batch_size=64)


class NeuralTester(Tester):
    """`make`: a fresh network for inputs like those given; its `fit_scale` takes inputs too."""

    def __init__(
        self, known: Known, context: Context, effort: Effort, make: Callable[[neural.Inputs], nn.Module]
    ) -> None:
        super().__init__(known, context, effort)
        self.make = make
        self.network: nn.Module | None = None
        self.tests = 0

    def judge(self, observed: Sequence[Observed]) -> list[float]:
        members, nonmembers = (_pool([seen[part] for seen in observed]) for part in range(2))
        cold = self.network is None
        if self.network is None:
            self.network = self.make(members)
            both = (torch.cat(pair) for pair in zip(members, nonmembers, strict=True))
            self.network.fit_scale(*both)  # type: ignore[operator]
        steps = self.effort.first_steps if cold else self.effort.steps
        seed = derive(self.context.seed, "safety test", self.tests)
        neural.train_steps(self.network, members, nonmembers, steps, FITTING, seed)
        self.tests += 1
        return [self.success(neural.score(self.network, judged)) for _, _, judged in observed]

    def state(self) -> dict[str, Any]:
        if self.network is None:
            return {"tests": self.tests}
        return {"tests": self.tests, "network": self.network.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.tests = state["tests"]
        if "network" in state:
            self.network = self.make(self.like(state["network"]))
            self.network.load_state_dict(state["network"])

    @abstractmethod
    def like(self, weights: dict[str, torch.Tensor]) -> neural.Inputs:
        """Inputs as wide as those that a network of these weights takes."""


def _pool(parts: Sequence[neural.Inputs]) -> neural.Inputs:
    return tuple(torch.cat(pieces) for pieces in zip(*parts, strict=True))
