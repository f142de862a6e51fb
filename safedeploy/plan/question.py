"""What a user asks a plan about, checked before anything is built."""

from dataclasses import dataclass
from typing import get_args

from safedeploy.errors import UserError, unknown
from safedeploy.export.targets import FileName, Target, load_target, precision_of
from safedeploy.models.zoo import reads_text
from safedeploy.results.plan import Precision, Structure
from safedeploy.structures import kind_of

INPUT = "3x32x32"
CLASSES = 10
STRUCTURES: dict[str, Structure] = {name: name for name in get_args(Structure)}
PRECISIONS: dict[str, Precision] = {name: name for name in get_args(Precision)}


@dataclass(frozen=True)
class Question:
    """`files`: those of the target that are planned. `command`: what asks about the same model and target again."""

    model: str
    target: Target
    structure: Structure
    density: float
    input_shape: tuple[int, ...]
    classes: int
    files: tuple[FileName, ...]
    command: str


def ask(
    model: str,
    target: str,
    *,
    structure: str = "irregular",
    density: float = 0.1,
    input_shape: str = INPUT,
    classes: int = CLASSES,
    values: str | None = None,
) -> Question:
    """The question, or a UserError that names the option at fault. `values`: files of this precision alone."""
    if reads_text(model):
        raise UserError(f"--model {model} reads text: plans are for models of images and tables")
    wanted = load_target(target)
    if structure not in STRUCTURES:
        kind_of(structure)
        raise UserError(f"--structure {structure}: plan has rules for {' and '.join(STRUCTURES)} only")
    if values is not None and values not in PRECISIONS:
        raise unknown("precision", values, PRECISIONS)
    if not 0 < density <= 1:
        raise UserError(f"--density {density:g}: the share of weights kept is above 0 and at most 1")
    if classes < 2:
        raise UserError(f"--classes {classes}: a classifier has at least 2")
    files = tuple(name for name in wanted.files if values in (None, precision_of(name)))
    if not files:
        raise UserError(f"--values {values}: target '{wanted.name}' has no file of that precision")
    options = ("" if input_shape == INPUT else f" --input {input_shape}") + (
        "" if classes == CLASSES else f" --classes {classes}"
    )
    return Question(
        model,
        wanted,
        STRUCTURES[structure],
        density,
        shape_of(input_shape),
        classes,
        files,
        f"safedeploy plan --model {model} --target {target}{options}",
    )


def shape_of(text: str) -> tuple[int, ...]:
    """'3x32x32' as (3, 32, 32), '446' as (446,)."""
    try:
        shape = tuple(int(part) for part in text.replace("×", "x").split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise UserError(f"--input {text}: give channels, height and width as 3x32x32, or columns as 446")
    return shape
