"""`safecompress`: dynamic sparse training that branches at every test, safety-tests the candidates and keeps the best
(Zhu et al. 2022, ASE; 2024, TSE): `--attacker black` is BMIA, `white` WMIA, `both` MMIA."""

from typing import Any, Literal

from pydantic import Field, field_validator
from torch import Tensor

from safedeploy.errors import unknown
from safedeploy.methods.base import Context
from safedeploy.methods.dynamic import DynamicOptions, DynamicSparse
from safedeploy.methods.safety import AttackerName, SafetyTest
from safedeploy.sparsity import grow, prune
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

_ATTACKERS: dict[str, tuple[AttackerName, ...]] = {"black": ("black",), "white": ("white",), "both": ("black", "white")}


class SafeCompressOptions(DynamicOptions):
    """Which candidates are tried, and how each is tested."""

    attacker: Literal["black", "white", "both"] = Field("both", description="whom the safety test simulates")
    strategies: tuple[str, ...] = Field(
        ("magnitude/gradient", "magnitude/random", "threshold/gradient", "threshold/random"),
        description="prune/grow pairs, a candidate each",
    )
    test_every: int = Field(
        8, ge=1, description="updates from one test to the next; those between use the strategy chosen last"
    )
    candidate_steps: int = Field(
        20,
        ge=1,
        description="training steps before a candidate's test: freshly grown weights are zero, and candidates that"
        " differ only in them answer alike",
    )
    test_samples: int = Field(250, ge=25, description="known samples a side in each half of the test")
    first_steps: int = Field(40, ge=1, description="steps that the attackers train at the first test")
    attacker_steps: int = Field(10, ge=1, description="steps that the attackers train at every later test")
    exponent: float = Field(1.0, ge=0, description="of the attack accuracy in the TM-score")

    @field_validator("strategies", mode="before")
    @classmethod
    def _one(cls, strategies: Any) -> Any:
        return [strategies] if isinstance(strategies, str) else strategies  # as --option strategies=A/B gives it

    @field_validator("strategies")
    @classmethod
    def _known(cls, strategies: tuple[str, ...]) -> tuple[str, ...]:
        for strategy in strategies:
            pruning, _, growing = strategy.partition("/")
            if pruning not in prune.RULES or growing not in grow.RULES:
                known = [f"{p}/{g}" for p in prune.RULES for g in grow.RULES]
                raise ValueError(str(unknown("strategy", strategy, known)))
        if not strategies:
            raise ValueError("at least one strategy is needed")
        return strategies


class SafeCompress(DynamicSparse):
    alone = "its method takes training steps of its own"

    def __init__(self, options: SafeCompressOptions, context: Context) -> None:
        super().__init__(options, context, _pair(options.strategies[0]))
        self.selection = options
        attackers = _ATTACKERS[options.attacker]
        self.test = SafetyTest(context, attackers, options.test_samples, options.first_steps, options.attacker_steps)

    def begin(self, training: Training) -> None:
        self.test.require_open(training.module)
        super().begin(training)

    def change(self, training: Training, gradients: dict[str, Tensor]) -> None:
        if (training.step // self.interval(training)) % self.selection.test_every == 0:
            self._select(training, gradients)
        else:
            super().change(training, gradients)

    def _select(self, training: Training, gradients: dict[str, Tensor]) -> None:
        """Each strategy updates a copy, trains it on the same next batches and is tested; the best is trained on."""
        base = training.state()
        # the steps before the next update, whose gradients it sums, must still be ahead
        ahead = min(self.interval(training) - self.gradient_steps(training), training.total_steps - training.step)
        steps = min(self.selection.candidate_steps, ahead)
        tried, seen = [], []
        for strategy in self.selection.strategies:
            training.restore(base)
            training.set_masks(self.candidate(training, gradients, _pair(strategy)))
            for _ in range(steps):
                training.one_step()
            training.require_finite()
            seen.append(self.test.observe(training.module))
            tried.append(training.state())
        outcomes = self.test.judge(seen)
        scores = [outcome.score(self.selection.exponent) for outcome in outcomes]
        best = scores.index(max(scores))
        for number, (strategy, outcome) in enumerate(zip(self.selection.strategies, outcomes, strict=True)):
            training.log(
                {
                    "event": "candidate",
                    "step": base["step"],
                    "strategy": strategy,
                    "task_accuracy": outcome.task,
                    "attack_accuracy": outcome.attack,
                    "score": scores[number],
                    "chosen": number == best,
                }
            )
        self.strategy = _pair(self.selection.strategies[best])
        training.restore(tried[best])

    def state(self) -> dict[str, Any]:
        return {"strategy": "/".join(self.strategy), **super().state(), **self.test.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.strategy = _pair(state["strategy"])
        self.test.restore(state)


def _pair(strategy: str) -> tuple[str, str]:
    pruning, _, growing = strategy.partition("/")
    return pruning, growing


def make(options: SafeCompressOptions, context: Context) -> Hooks:
    return SafeCompress(options, context)
