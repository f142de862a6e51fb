"""What a sparsity would buy, before training (`safedeploy plan`), and what measuring it here found."""

from typing import Annotated, Literal

from pydantic import Field

from safedeploy.results.base import Probability, Result, ResultFile

Structure = Literal["irregular", "channel"]
Precision = Literal["float32", "int8"]
RuntimeOfPlan = Literal["onnxruntime", "executorch", "litert"]
Resource = Literal["disk", "download", "memory", "time"]


class PlanRule(Result):
    """What a runtime does with sparse weights. `basis`: measured by us, or read in `source`.

    `kinds`: the layers it holds for, as 'convolution k×k'; empty for all.
    """

    name: str
    runtime: RuntimeOfPlan
    structure: Structure
    resource: Resource
    precision: Literal["float32", "int8", "any"] = "any"
    kinds: list[str] = Field(default_factory=list)
    buys: bool
    why: str
    source: str
    basis: Literal["measured", "read", "arithmetic"]


class Estimate(Result):
    """Bytes without and with the sparsity, and the rule that made the figures."""

    dense: int
    planned: int
    rule: str


class PlannedLayer(Result):
    """A prunable layer. `macs`: multiply-accumulates for one input; shares are of all prunable layers.

    `output`: one input's answer, without the batch. `planned_*`: with the sparsity; zeros are still multiplied where
    they are irregular. `encoded_bytes`: its weights by the entropy bound, at a value's precision.
    `time`: for each runtime the name of the rule that says whether this layer gets faster.
    """

    name: str
    kind: str
    shape: list[int]
    output: list[int]
    weights: int
    weight_share: Probability
    macs: int
    mac_share: Probability
    kept: int
    density: Probability
    planned_shape: list[int]
    planned_macs: int
    dense_bytes: dict[Precision, int]
    encoded_bytes: dict[Precision, int]
    time: dict[RuntimeOfPlan, str]


class PlannedFile(Result):
    """A file of the target. `multiplied`: share of the dense multiply-accumulates that its runtime still does.

    `resident`: weights in memory after loading. `rules`: why each of the four is as it is, by name.
    """

    name: str
    runtime: RuntimeOfPlan
    precision: Precision
    disk: Estimate
    download: Estimate
    resident: Estimate
    multiplied: Annotated[float, Field(ge=0, le=1)]
    rules: dict[Resource, str]


class PlanLimit(Result):
    """What this sparsity does not buy, in which kinds of `layers` (all where empty).

    `share`: of the multiply-accumulates for time, else 1.
    """

    runtime: RuntimeOfPlan
    resource: Resource
    layers: list[str]
    why: str
    share: Probability
    rule: str


class PlanAdvice(Result):
    """What to choose instead for the sake of `wanted`, as a command line."""

    wanted: str
    command: str
    why: str


class PlanCheck(Result):
    """A claim of the plan beside what was measured on this machine.

    It `agrees` where [`measured_low`, `measured_high`] meets [`low`, `high`]; `high` None: no upper end.
    """

    file: str
    claim: str
    unit: Literal["bytes", "ratio", "share"]
    low: float
    high: float | None
    measured: float
    measured_low: float
    measured_high: float
    agrees: bool


class Plan(ResultFile):
    """`safedeploy plan`: estimates by named rules, never a phone's time. `checks`: of `--verify`, else None."""

    model: str
    target: str
    structure: Structure
    density: Annotated[float, Field(gt=0, le=1)]
    input_shape: list[int]
    classes: int
    weights: int
    kept: int
    macs: int
    planned_macs: int
    layers: list[PlannedLayer]
    files: list[PlannedFile]
    rules: list[PlanRule]
    limits: list[PlanLimit]
    advice: list[PlanAdvice]
    notes: list[str]
    checks: list[PlanCheck] | None = None
    machine: dict[str, str] | None = None
    versions: dict[str, str]
