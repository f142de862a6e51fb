"""The recipe: everything that decides a run's outcome, typed, in TOML; rerunning a resolved one reproduces the run."""

import re
import tomllib
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from safedeploy.errors import UserError, unknown
from safedeploy.rundir import write_text
from safedeploy.structures import kind_of

Fraction = Annotated[float, Field(gt=0, lt=1)]


def _structure(name: str) -> str:
    try:
        kind_of(name)
    except UserError as error:
        raise ValueError(str(error)) from None
    return name


Structure = Annotated[str, AfterValidator(_structure)]  # a name that structures.py knows

Augment = Literal["none", "crop", "flip", "crop-flip"]

Quantise = Literal["int8", "palette4", "palette5", "palette6", "palette7", "palette8"]

TPR_BUDGET = re.compile(r"tpr@(0?\.\d+)")  # the false-positive rate it asks about


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class DataRecipe(Section):
    """`source`: a built-in name or a path. `label`: the label's column, for tables.

    `sensitive`: a table's column, or an array of an .npz, that the model does not see and an attacker is to infer.
    `text`: a table's column of texts, or several with commas. `length`: tokens of a text that the model sees.
    """

    source: str = "digits"
    root: str | None = None
    label: str | None = None
    sensitive: str | None = None
    text: str | None = None
    length: Annotated[int, Field(ge=4, le=4096)] | None = None


class SplitRecipe(Section):
    """Shares of the examples outside an official test set; `test` is drawn only where there is none.

    Members and non-members get equal shares.
    """

    known: Fraction = 0.2
    evaluation: Fraction = 0.2
    validation: Fraction = 0.1
    test: Fraction = 0.1

    @model_validator(mode="after")
    def _leaves_nothing_negative(self) -> Self:
        total = 2 * (self.known + self.evaluation) + self.validation + self.test
        if total > 1 + 1e-9:
            taken = "2·(known + evaluation) + validation + test"
            raise ValueError(f"the shares add up to {total:.2f}: {taken} must be at most 1")
        return self


class ModelRecipe(Section):
    """`name`: of the zoo, or a factory as package.module:function or path/file.py:function. `init`: trained weights to
    begin with.
    """

    name: str = "lenet5"
    init: str | None = None


class MethodRecipe(Section):
    """`density`: share of prunable weights kept. `structure`: what is kept or removed together (docs/methods.md);
    channels and filters are gone from the files that ship. `options`: the method's own. `defences`: terms added to it,
    by name, each with its own options.
    `quantise`: what weights are rounded to in the forward pass, from the share `quantise_at` of the steps on.
    """

    name: str = "safecompress"
    density: Annotated[float, Field(gt=0, le=1)] = 0.05
    structure: Structure = "irregular"
    options: dict[str, Any] = {}
    defences: dict[str, dict[str, Any]] = {}
    quantise: Quantise | None = None
    quantise_at: Fraction = 0.75


class TrainingRecipe(Section):
    """SGD with momentum, or AdamW; the learning rate falls tenfold at `milestones` (shares of the epochs), as in
    SafeCompress.

    `augment`: images are shifted by up to `padding` pixels (an eighth of the height), mirrored, or both, anew at every
    step.

    `checkpoint_seconds`: at the end of an epoch a checkpoint is written if the last one is at least this old. It
    decides what a kill loses, never the outcome. `canaries`: examples put into training or left out by fair coins, for
    the audit of one run (Steinke et al. 2023); mislabelled ones expose more and cost accuracy.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    milestones: list[Fraction] = [0.5, 0.75]
    augment: Augment = "none"
    padding: Annotated[int, Field(ge=1)] | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 5.0
    canaries: Annotated[int, Field(ge=0)] = 0
    canary_kind: Literal["mislabelled", "natural"] = "mislabelled"

    def shift(self, height: int) -> int:
        """Pixels by which `augment` moves images of this height at most."""
        if "crop" not in self.augment:
            return 0
        return height // 8 if self.padding is None else self.padding


class AuditRecipe(Section):
    """`budget`: 'auc', 'tpr@FPR', 'advantage' or 'epsilon' to the highest figure allowed.

    `attacks`: names, or the sets 'standard' and 'all'. `references`: reference models that `run` makes, for the run and
    for its dense control.
    """

    budget: dict[str, float] = {}
    attacks: Annotated[list[str], Field(min_length=1)] = ["standard"]
    references: Annotated[int, Field(ge=0)] = 0

    @field_validator("budget")
    @classmethod
    def _can_be_held(cls, budget: dict[str, float]) -> dict[str, float]:
        for key, limit in budget.items():
            if fault := budget_fault(key, limit):
                raise ValueError(fault)
        return budget


class BenchRecipe(Section):
    protocol: Literal["quick", "full"] = "quick"
    threads: Annotated[int, Field(ge=1)] = 1


class Recipe(Section):
    name: str = Field(default="digits", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    seed: Annotated[int, Field(ge=0)] = 0
    target: str = "android"
    data: DataRecipe = DataRecipe()
    split: SplitRecipe = SplitRecipe()
    model: ModelRecipe = ModelRecipe()
    method: MethodRecipe = MethodRecipe()
    training: TrainingRecipe = TrainingRecipe()
    audit: AuditRecipe = AuditRecipe()
    bench: BenchRecipe = BenchRecipe()

    def write(self, path: Path) -> None:
        write_text(path, tomli_w.dumps(self.model_dump(exclude_none=True)))


def read_recipe(path: Path) -> Recipe:
    """A recipe from TOML; the error names the key."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    return validate(content, str(path))


def validate(content: dict[str, Any], source: str) -> Recipe:
    """A recipe from plain values; `source` is what the error blames (a file, or 'the options')."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error, Recipe)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a pydantic error about `model`, in one line; for an unknown name, the nearest known one."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        message = str(unknown("key", path[-1], _keys(model, path[:-1])))
    elif first["type"] == "literal_error" and isinstance(first["input"], str):
        message = str(unknown("value", first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"])))
    else:
        message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section of `model` that `path` leads to."""
    for part in path:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def budget_fault(key: str, limit: float) -> str | None:
    """What is wrong with a privacy budget of at most `limit` on the figure `key`, or None."""
    rate = TPR_BUDGET.fullmatch(key)
    if key not in ("auc", "advantage", "epsilon") and not rate:
        return f"'{key}' is no figure to hold: they are auc and tpr@FPR, as in tpr@0.001, advantage and epsilon"
    if key == "auc" and not 0.5 <= limit <= 1:
        return f"auc={limit:g}: an AUC budget lies between 0.5 and 1"
    if key == "epsilon":
        return None if 0 < limit < inf else f"epsilon={limit:g}: a budget on epsilon is above 0"
    if not 0 < limit <= 1:
        return f"{key}={limit:g}: a rate lies between 0 and 1"
    if rate and limit < float(rate.group(1)):
        return f"{key}={limit:g}: a model that leaks nothing reaches {float(rate.group(1)):g}; ask for more than that"
    return None
