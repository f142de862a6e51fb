"""The rules of the runtimes, read from `rules.toml`, and which of them holds for a layer."""

import tomllib
from functools import cache
from importlib import resources

from safedeploy.plan.layers import Layer
from safedeploy.results import PlanRule
from safedeploy.results.plan import Precision, Resource, RuntimeOfPlan, Structure


@cache
def rules() -> tuple[PlanRule, ...]:
    content = (resources.files("safedeploy.plan") / "rules.toml").read_text(encoding="utf-8")
    return tuple(PlanRule.model_validate(rule) for rule in tomllib.loads(content)["rule"])


def rule_for(
    runtime: RuntimeOfPlan,
    structure: Structure,
    resource: Resource,
    precision: Precision,
    kind: str | None = None,
) -> PlanRule:
    """The first rule that fits; without a kind, the first that holds for all kinds of layers."""
    for rule in rules():
        if (rule.runtime, rule.structure, rule.resource) != (runtime, structure, resource):
            continue
        if rule.precision in ("any", precision) and (not rule.kinds or kind in rule.kinds):
            return rule
    raise LookupError(f"no rule for {runtime}, {structure}, {resource}, {precision}")


DOES_NOT_FIT = "of a network that does not fit"  # the kind of every layer where a runtime wants a whole network


def kind_of(layer: Layer) -> str:
    """The kinds that rules tell apart."""
    if layer.kind != "convolution":
        return layer.kind
    return "convolution 1×1" if set(layer.kernel) == {1} else "convolution k×k"
