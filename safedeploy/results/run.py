"""What a training run leaves: its summary, and the reference models made for it."""

from typing import Any

from pydantic import Field, field_validator

from safedeploy.recipe import Augment
from safedeploy.results.base import Probability, Result, ResultFile


class LayerDensity(Result):
    name: str
    shape: list[int]
    kept: int
    density: Probability


class DpGuarantee(Result):
    """(ε, δ)-differential privacy of a training with regard to one member, by DP-SGD's accountant.

    noise_multiplier: noise's deviation in units of `clip`, the largest gradient norm of a sample.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    clip: float


class Summary(ResultFile):
    """What training produced (`summary.json`): accuracy by role, densities, examples by role, cost.

    `defences`: the terms added to the method. `guarantee`: what differential privacy promises, where it does.
    `init`: the trained weights it began with, if any; `init_sha256`: of them; `init_anew`: tensors they did not fit.
    """

    data: str
    fingerprint: str
    model: str
    method: str
    density: Probability
    layers: list[LayerDensity]
    parameters: int
    accuracy: dict[str, float]
    epochs: int
    seconds: float
    seed: int
    device: str
    versions: dict[str, str]
    roles: dict[str, int]
    defences: list[str] = Field(default_factory=list)
    guarantee: DpGuarantee | None = None
    init: str | None = None
    init_sha256: str | None = None
    init_anew: list[str] = Field(default_factory=list)


class Served(Result):
    """Why a file has no answers of its own in a ReferenceSet: `by` has the same weights in the same precision.

    `max_logit_difference`: the most by which the audited model's two files can have differed where they were checked.
    """

    by: str
    max_logit_difference: float


class Views(Result):
    """The changes of a sample that models are asked about: the first `count` of those that `augment` makes with
    `padding` pixels, itself first (attacks/views.py)."""

    augment: Augment
    padding: int
    count: int


class ReferenceSet(ResultFile):
    """What the reference models of one folder are (`references/references.json`).

    `made_for`: the run or the files whose pool they halve. `fingerprint`: of the data. `recipe`: all that decides a
    reference beside its number. `count`: how many were asked for; a cut-off build has fewer. `views`: of each
    sample. `files`: the exported files that answered. `pool`: samples. `versions`: that began the folder.
    """

    made_for: str
    fingerprint: str
    recipe: dict[str, Any]
    model: str
    method: str
    seed: int
    count: int
    views: Views
    files: list[str]
    served: dict[str, Served] = Field(default_factory=dict)
    pool: int
    versions: dict[str, str]

    @field_validator("views", mode="before")
    @classmethod
    def _itself(cls, given: Any) -> Any:
        """Older folders say how many; one is the sample itself."""
        return {"augment": "none", "padding": 0, "count": 1} if given == 1 else given
