"""What a method is made from: its options and what it may know of the run."""

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from safedeploy.data.samples import Samples
from safedeploy.recipe import ModelRecipe, Structure, TrainingRecipe

LEAST_EPOCHS = 10  # of models that are asked about others' samples, or the run's: what learned less tells little


class Options(BaseModel):
    """Base of the options of a method or a defence; an unknown one is an error.

    Each says in its `description` what it means: `--help-method` and nothing else tells a user.
    """

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
    model: ModelRecipe = field(default_factory=ModelRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)


def shorter(recipe: TrainingRecipe, share: float) -> TrainingRecipe:
    """`share` of its epochs, at least LEAST_EPOCHS of them or all."""
    epochs = max(round(share * recipe.epochs), min(LEAST_EPOCHS, recipe.epochs))
    return recipe.model_copy(update={"epochs": epochs})
