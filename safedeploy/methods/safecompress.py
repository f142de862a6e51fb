"""`safecompress`: dynamic sparse training that branches at every test, safety-tests the candidates and keeps the best
(Zhu et al. 2022, ASE; 2024, TSE): `--attacker black` is BMIA, `white` WMIA, `both` MMIA."""

import itertools
from typing import Any, Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor

from safedeploy.errors import UserError, unknown
from safedeploy.methods.base import Context
from safedeploy.methods.dynamic import DynamicOptions, DynamicSparse
from safedeploy.methods.safety import SafetyTest, matched_scores, tm_scores
from safedeploy.methods.testers import require_known
from safedeploy.methods.testers.base import Effort
from safedeploy.sparsity import grow, prune
from safedeploy.sparsity.units import Tensors
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

_ATTACKERS = {
    "black": ("neural-black",),
    "white": ("neural-white",),
    "both": ("neural-black", "neural-white"),
}

MIN_TESTS = 2  # so that a short training selects more than once
MEMORY = 0.9  # of the running mean gradient behind momentum growth


class SafeCompressOptions(DynamicOptions):
    """Which candidates are tried, and how each is tested."""

    attacker: Literal["black", "white", "both"] | None = Field(
        None,
        description="the papers' attackers as testers: black is BMIA, white WMIA, both MMIA, which is also what tests"
        " where no tester is named",
    )
    testers: tuple[str, ...] = Field(
        (),
        description="who tests beside the attacker, by name: any attack of the audit, rmia and lira for short;"
        " attribute and attribute-white infer the column of --sensitive",
    )
    strategies: tuple[str, ...] = Field(
        ("magnitude/gradient", "magnitude/random", "threshold/gradient", "threshold/random"),
        description="prune/grow pairs, a candidate each",
    )
    prune: tuple[str, ...] = Field(
        (), description="in place of strategies, with `grow`: of magnitude, set, taylor, threshold; every pair is tried"
    )
    grow: tuple[str, ...] = Field((), description="with `prune`: of gradient, momentum, random, random-unfired")
    test_every: int = Field(
        8,
        ge=1,
        description="updates from one test to the next, fewer where a short training would have a single test; those"
        " between use the strategy chosen last",
    )
    candidate_steps: int = Field(
        20,
        ge=1,
        description="training steps before a candidate's test: freshly grown weights are zero, and candidates that"
        " differ only in them answer alike",
    )
    test_samples: int = Field(250, ge=25, description="known samples a side in each half of the test")
    first_steps: int = Field(40, ge=1, description="steps that the neural attackers train at the first test")
    attacker_steps: int = Field(10, ge=1, description="steps that the neural attackers train at every later test")
    references: int = Field(4, ge=2, description="reference models of testers that need any, trained once at first")
    reference_method: Literal["dense", "set"] = Field("dense", description="how reference models are trained")
    reference_epochs: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the epochs that reference models train, but at least 10 epochs: dense ones need few to"
        " tell easy samples from hard ones, sparse ones nearly all",
    )
    score: Literal["tm", "matched"] = Field(
        "tm",
        description="who is chosen: of most task accuracy for its attack success (tm), or of least attack success among"
        " those as accurate as the best (matched)",
    )
    exponent: float = Field(1.0, ge=0, description="of the attack success in the TM-score")

    @field_validator("strategies", "prune", "grow", "testers", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given  # as --option strategies=A/B gives it

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

    @field_validator("prune", "grow")
    @classmethod
    def _rules(cls, names: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
        rules = prune.RULES if field.field_name == "prune" else grow.RULES
        for name in names:
            if name not in rules:
                raise ValueError(str(unknown(f"{field.field_name} rule", name, rules)))
        return names

    @field_validator("testers")
    @classmethod
    def _testers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            require_known(names)
        except UserError as error:
            raise ValueError(str(error)) from None
        return names

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.prune or self.grow:
            if "strategies" in self.model_fields_set:
                raise ValueError("strategies and prune or grow both say which candidates there are: give one of them")
            if not (self.prune and self.grow):
                given, missing = ("prune", "grow") if self.prune else ("grow", "prune")
                raise ValueError(f"{given} alone makes no candidates: give {missing} too")
        return self

    @property
    def candidates(self) -> tuple[tuple[str, str], ...]:
        """(prune rule, grow rule) of each."""
        if self.prune:
            return tuple(itertools.product(self.prune, self.grow))
        return tuple(_pair(strategy) for strategy in self.strategies)

    @property
    def tested_by(self) -> tuple[str, ...]:
        """The attacker's testers and those named, each once."""
        names = (*_ATTACKERS.get(self.attacker or "", ()), *self.testers) or _ATTACKERS["both"]
        return tuple(dict.fromkeys(names))


class SafeCompress(DynamicSparse):
    alone = "its method takes training steps of its own"

    def __init__(self, options: SafeCompressOptions, context: Context) -> None:
        super().__init__(options, context, *options.candidates)
        self.selection = options
        self._grows = {growing for _, growing in options.candidates}
        self._momentum: dict[str, Tensor] = {}
        self._fired: dict[str, Tensor] = {}
        effort = Effort(
            options.first_steps,
            options.attacker_steps,
            options.references,
            options.reference_method,
            options.reference_epochs,
        )
        self.test = SafetyTest(context, options.tested_by, options.test_samples, effort)

    def begin(self, training: Training) -> None:
        self.test.begin(training.module)
        super().begin(training)
        self._note_fired(training)

    def after_backward(self, training: Training) -> None:
        super().after_backward(training)
        if "momentum" in self._grows and training.step < self.last_update(training):
            fresh = training.dense_gradients()
            before = {name: mean.to(fresh[name].device) for name, mean in self._momentum.items()}
            # not in place: a candidate's mean leaves that of the others as it was
            self._momentum = {name: MEMORY * before.get(name, 0) + (1 - MEMORY) * g for name, g in fresh.items()}

    def signal(self, growing: str, gradients: Tensors) -> Tensors:
        return {"momentum": self._momentum, "random-unfired": self._fired}.get(growing, gradients)

    def change(self, training: Training, gradients: dict[str, Tensor]) -> None:
        if (training.step // self.interval(training)) % self.test_every(training) == 0:
            self._select(training, gradients)
        else:
            super().change(training, gradients)
        self._note_fired(training)

    def test_every(self, training: Training) -> int:
        """Updates from one test to the next."""
        updates = self.last_update(training) // self.interval(training)
        return max(1, min(self.selection.test_every, updates // MIN_TESTS))

    def _note_fired(self, training: Training) -> None:
        """Which weights have ever been active: 1, else 0."""
        if "random-unfired" in self._grows:
            now = {name: mask.to(torch.float32) for name, mask in training.masks.items()}
            before = {name: fired.to(now[name].device) for name, fired in self._fired.items()}
            self._fired = {name: torch.maximum(mask, before.get(name, mask)) for name, mask in now.items()}

    def _select(self, training: Training, gradients: dict[str, Tensor]) -> None:
        """Each strategy updates a copy, trains it on the same next batches and is tested; the best is trained on."""
        base, momentum = training.state(), self._momentum
        # the steps before the next update, whose gradients it sums, must still be ahead
        ahead = min(self.interval(training) - self.gradient_steps(training), training.last_step - training.step)
        steps = min(self.selection.candidate_steps, ahead)
        tried, seen = [], []
        for strategy in self.selection.candidates:
            training.restore(base)
            self._momentum = momentum
            training.set_masks(self.candidate(training, gradients, strategy))
            for _ in range(steps):
                training.one_step()
            training.require_finite()
            seen.append(self.test.observe(training.module))
            tried.append((training.state(), self._momentum))
        outcomes = self.test.judge(seen)
        exponent, matched = self.selection.exponent, self.selection.score == "matched"
        scores = matched_scores(outcomes) if matched else tm_scores(outcomes, exponent)
        best = scores.index(max(scores))
        for number, (strategy, outcome) in enumerate(zip(self.selection.candidates, outcomes, strict=True)):
            training.log(
                {
                    "event": "candidate",
                    "step": base["step"],
                    "strategy": "/".join(strategy),
                    "task_accuracy": outcome.task,
                    "attack_success": outcome.attack,
                    "score": scores[number],
                    "chosen": number == best,
                }
            )
        self.strategy = self.selection.candidates[best]
        state, self._momentum = tried[best]
        training.restore(state)

    def state(self) -> dict[str, Any]:
        own = {"strategy": "/".join(self.strategy), "momentum": self._momentum, "fired": self._fired}
        return {**own, **super().state(), **self.test.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.strategy = _pair(state["strategy"])
        self._momentum, self._fired = state["momentum"], state["fired"]
        self.test.restore(state)


def _pair(strategy: str) -> tuple[str, str]:
    pruning, _, growing = strategy.partition("/")
    return pruning, growing


def make(options: SafeCompressOptions, context: Context) -> Hooks:
    return SafeCompress(options, context)
