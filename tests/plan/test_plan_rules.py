"""The rules: every question a plan asks has one answer, with a source, and no rule is dead."""

import itertools
import re
from typing import get_args

import pytest

from safedeploy.plan.rules import DOES_NOT_FIT, rule_for, rules
from safedeploy.results.plan import Precision, Resource, RuntimeOfPlan, Structure

KINDS = ("convolution 1×1", "convolution k×k", "depthwise", "linear", "embedding", None)
SHIPPED = [(runtime, resource) for runtime in ("onnxruntime", "executorch") for resource in get_args(Resource)]


def asked():
    for structure, precision, kind in itertools.product(get_args(Structure), get_args(Precision), KINDS):
        for runtime, resource in SHIPPED:
            yield runtime, structure, resource, precision, kind
        yield "litert", structure, "time", "float32", kind or DOES_NOT_FIT


def test_every_question_has_an_answer_and_every_rule_answers_one():
    assert {rule_for(*question).name for question in asked()} == {rule.name for rule in rules()}


def test_names_are_unique_and_sources_can_be_looked_up():
    assert len({rule.name for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule.why
        if rule.basis == "read":
            assert re.search(r"\w+/\w+#\d+|\.cpp|\.c\b|\.md|kernels/", rule.source), rule.name


@pytest.mark.parametrize("runtime", ["onnxruntime", "executorch"])
@pytest.mark.parametrize("kind", KINDS)
def test_irregular_zeros_buy_no_time_and_channels_do(runtime, kind):
    for precision in get_args(Precision):
        assert not rule_for(runtime, "irregular", "time", precision, kind).buys
        assert rule_for(runtime, "channel", "time", precision, kind).buys


def test_sparse_speed_exists_in_litert_alone_for_1x1_convolutions():
    buying = {
        (rule.runtime, tuple(rule.kinds))
        for rule in rules()
        if rule.buys and rule.structure == "irregular" and rule.resource == "time"
    }
    assert buying == {("litert", ("convolution 1×1",))}
    assert "litert" in get_args(RuntimeOfPlan)
