"""The plan: a model's layers, a target's files and the runtimes' rules, put together."""

import math
from typing import TYPE_CHECKING

from safedeploy.export.targets import precision_of, runtime_of
from safedeploy.plan import sizes
from safedeploy.plan.advice import advice, limits, notes
from safedeploy.plan.files import planned_file
from safedeploy.plan.layers import Layer
from safedeploy.plan.litert import closed_because
from safedeploy.plan.network import Network, network_of
from safedeploy.plan.question import Question
from safedeploy.plan.random_model import random_model
from safedeploy.plan.rules import DOES_NOT_FIT, kind_of, rule_for, rules
from safedeploy.results import Plan, PlannedLayer
from safedeploy.results.plan import Precision, RuntimeOfPlan
from safedeploy.versions import versions

if TYPE_CHECKING:
    from torch import nn


def make_plan(question: Question) -> Plan:
    """What the sparsity buys on the target's runtimes. Builds the model once; trains and exports nothing.

    Raises UserError for a model that cannot be built, an input it cannot take, and a density too low for its layers.
    """
    module = random_model(question.model, question.input_shape, question.classes, seed=0)
    return plan_of(question, module, network_of(module, question))


def plan_of(question: Question, module: "nn.Module", network: Network) -> Plan:
    """The plan for a dense module and what becomes of it."""
    layers = planned_layers(question, network)
    files = [
        planned_file(name, question.structure, network, encode=question.target.encoding.sparse)
        for name in question.files
    ]
    used = {name for file in files for name in file.rules.values()} | {
        n for layer in layers for n in layer.time.values()
    }
    listed = [rule for rule in rules() if rule.name in used]
    return Plan(
        model=question.model,
        target=question.target.name,
        structure=question.structure,
        density=question.density,
        input_shape=list(question.input_shape),
        classes=question.classes,
        weights=sum(layer.weights for layer in network.layers),
        kept=sum(network.kept.values()),
        macs=sum(layer.macs for layer in network.layers),
        planned_macs=sum(layer.macs for layer in network.planned),
        layers=layers,
        files=files,
        rules=listed,
        limits=limits(layers, files, listed),
        advice=advice(question, network, module),
        notes=notes(question, network, files),
        versions=versions(),
    )


def planned_layers(question: Question, network: Network) -> list[PlannedLayer]:
    weights, macs = sum(layer.weights for layer in network.layers), sum(layer.macs for layer in network.layers)
    closed = bool(closed_because(network.layers, network.kept))
    return [
        PlannedLayer(
            name=layer.name,
            kind=layer.title,
            shape=list(layer.shape),
            output=list(layer.output),
            weights=layer.weights,
            weight_share=layer.weights / weights,
            macs=layer.macs,
            mac_share=layer.macs / macs if macs else 0.0,
            kept=network.kept[layer.name],
            density=network.kept[layer.name] / layer.weights,
            planned_shape=list(after.shape),
            planned_macs=after.macs,
            dense_bytes={of: layer.weights * size for of, size in sizes.VALUE_BYTES.items()},
            encoded_bytes={
                of: math.ceil(sizes.encoded_bytes(after.weights, network.kept[layer.name], of))
                for of in sizes.VALUE_BYTES
            },
            time=_time_rules(question, layer, closed),
        )
        for layer, after in zip(network.layers, network.planned, strict=True)
    ]


def _time_rules(question: Question, layer: Layer, closed: bool) -> dict[RuntimeOfPlan, str]:
    """By runtime, the rule for the target's first file there; LiteRT, which has none, is asked about float32."""
    kind = kind_of(layer)
    precisions: dict[RuntimeOfPlan, Precision] = {
        runtime_of(name): precision_of(name) for name in reversed(question.files)
    }
    found = {
        runtime: rule_for(runtime, question.structure, "time", precision, kind).name
        for runtime, precision in precisions.items()
    }
    litert = rule_for("litert", question.structure, "time", "float32", DOES_NOT_FIT if closed else kind)
    return {**found, "litert": litert.name}
