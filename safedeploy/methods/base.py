"""What a method is made from: its options and what it may know of the run."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from safedeploy.data.samples import Samples
from safedeploy.recipe import Structure


class Options(BaseModel):
    """Base of every method's options; an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Context:
    """`members` and `nonmembers` are the known roles, `validation` chooses models: none of these is judged on later."""

    density: float
    seed: int
    classes: int
    input_shape: tuple[int, ...]
    members: Samples
    nonmembers: Samples
    validation: Samples
    structure: Structure = "irregular"
