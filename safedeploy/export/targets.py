"""A deployment target: its files, how they are quantised, how far they may stray, what they may weigh."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from safedeploy.errors import UserError, unknown
from safedeploy.export.encoding.values import Rounding
from safedeploy.recipe import budget_fault
from safedeploy.results import Probability
from safedeploy.rundir import RunDir, write_text
from safedeploy.typed_toml import parse_toml, read_toml, typed

FileName = Literal["model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte"]
RuntimeName = Literal["onnxruntime", "executorch"]
Precision = Literal["float32", "int8"]

# What the exporters here write and ONNX Runtime's quantiser takes; a per-channel DequantizeLinear begins at 13.
Opset = Annotated[int, Field(ge=18, le=23)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Quantisation(_Section):
    """Static int8. `activation` and `calibration` (how to find ranges) are ONNX Runtime's; XNNPACK has one of each.

    With int8 activations ONNX Runtime on x86 leaves every convolution beside a residual addition in float32.
    """

    activation: Literal["int8", "uint8"] = "uint8"
    weight: Literal["int8"] = "int8"
    per_channel: bool = True
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"


class Encoding(_Section):
    """`sparse`: weights of ONNX files as codes that ONNX Runtime decodes while it loads, without loss.

    `values`: what the weights of model.onnx are rounded to before; a rounded file is held to the tolerance of int8.
    """

    sparse: bool = True
    values: Literal["float32", Rounding] = "float32"


class Float32Tolerance(_Section):
    """`logit_difference`: the largest |difference| over the largest |logit| of the torch model on the same inputs."""

    logit_difference: Annotated[float, Field(gt=0)] = 1e-4


class Int8Tolerance(_Section):
    """`top1_agreement`: smallest share of inputs given the same class. `accuracy_lost`: largest fall of accuracy.

    `saturation`: largest share of one layer's activations that may lie beyond the range int8 holds of them.
    """

    top1_agreement: Probability = 0.95
    accuracy_lost: Probability = 0.02
    saturation: Probability = 0.2


class Tolerance(_Section):
    float32: Float32Tolerance = Float32Tolerance()
    int8: Int8Tolerance = Int8Tolerance()


class RuntimeOnTarget(_Section):
    """The package an app on the target depends on, and the first version that runs these files."""

    package: str
    minimum: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]


class Budget(_Section):
    """What each file of a bundle may weigh, and what the audit of each may find where the recipe sets no budget.

    `disk_bytes`: the file as it is. `download_bytes`: a zip of it alone (deflate, level 9). `privacy`: as a recipe's
    `audit.budget`.
    """

    disk_bytes: Annotated[int, Field(gt=0)] | None = None
    download_bytes: Annotated[int, Field(gt=0)] | None = None
    privacy: dict[str, float] = {}

    @field_validator("privacy")
    @classmethod
    def _can_be_held(cls, privacy: dict[str, float]) -> dict[str, float]:
        for key, limit in privacy.items():
            if fault := budget_fault(key, limit):
                raise ValueError(fault)
        return privacy


class Target(_Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str
    files: Annotated[list[FileName], Field(min_length=1)]
    opset: Opset = 20
    quantisation: Quantisation = Quantisation()
    encoding: Encoding = Encoding()
    tolerance: Tolerance = Tolerance()
    runtimes: dict[RuntimeName, RuntimeOnTarget] = {}
    budget: Budget = Budget()

    def rounding(self, file: str) -> Rounding | None:
        """What the weights of `file` are rounded to before it ships."""
        values = self.encoding.values
        return None if file != "model.onnx" or values == "float32" else values

    @model_validator(mode="after")
    def _names_no_file_twice(self) -> Self:
        twice = next((name for name in self.files if self.files.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"files: '{twice}' is named twice")
        return self


def runtime_of(name: FileName) -> RuntimeName:
    return "onnxruntime" if name.endswith(".onnx") else "executorch"


def precision_of(name: FileName) -> Precision:
    return "int8" if ".int8." in name else "float32"


def load_target(name_or_path: str) -> Target:
    """A shipped target by its name, or a user's own by the path of its TOML file (with .toml or a separator in it).

    A file may say `extends = "android"`, or the path of another file from its own folder: it then says only what
    differs, and its name. Raises UserError for an unknown name, with the nearest known one, and for a file that is
    missing or faulty.
    """
    return typed(Target, _content(name_or_path, ()), f"target {name_or_path}")


def list_targets() -> list[Target]:
    """The shipped targets, by name."""
    return [load_target(name) for name in sorted(_shipped())]


def is_path(name_or_path: str) -> bool:
    """Whether a target is named by its file, and not one of the shipped ones."""
    path = Path(name_or_path)
    return name_or_path not in _shipped() and (path.suffix == ".toml" or len(path.parts) > 1)


def keep_target(run: RunDir, name_or_path: str) -> None:
    """Leave a whole copy of a user's own target in `run`, which then finds it from any folder, and as it was."""
    if is_path(name_or_path) and not run.target.exists():
        kept = target_of_run(RunDir(run.root.parent), name_or_path) if run.is_control else load_target(name_or_path)
        write_text(run.target, tomli_w.dumps(kept.model_dump(mode="json", exclude_none=True)))


def target_of_run(run: RunDir, name_or_path: str) -> Target:
    """The target that `run`'s recipe names: the run's own copy where it is a user's file."""
    place = run.target
    return load_target(str(place) if is_path(name_or_path) and place.is_file() else name_or_path)


def require_same_target(run: RunDir, name_or_path: str) -> None:
    """Raises UserError where a user's own target has changed since `run` kept its copy."""
    if (
        run.target.is_file()
        and Path(name_or_path).is_file()
        and load_target(name_or_path) != load_target(str(run.target))
    ):
        raise UserError(
            f"{name_or_path} is no longer the target that {run.root} was made for ({run.target}): "
            "choose another --name, or --fresh to replace the run"
        )


def _content(name_or_path: str, below: tuple[str, ...]) -> dict[str, Any]:
    """The target's tables, with those it extends filled in; `below`: the files that extend it, one another."""
    if not is_path(name_or_path):
        shipped = _shipped()
        if name_or_path not in shipped:
            raise unknown("target", name_or_path, shipped)
        return parse_toml(shipped[name_or_path], f"target {name_or_path}")
    path = Path(name_or_path)
    content = read_toml(path, "target")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UserError(f'target {path}: extends: name one target, as in extends = "android"')
    chain = (*below, str(path.resolve()))
    origin = str(path.parent / base) if is_path(base) else base
    if is_path(base) and str(Path(origin).resolve()) in chain:
        raise UserError(f"target {path}: extends: '{base}' extends this file itself; let one of them stand alone")
    try:
        inherited = _content(origin, chain)
    except UserError as error:
        raise UserError(f"target {path}: extends: {error}") from None
    inherited.pop("name", None)  # two targets of one name would share a bundle's folder
    return _merged(inherited, content)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` in their place, table by table; a list is replaced whole."""
    tables = {
        key: _merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **over, **tables}


def _shipped() -> dict[str, str]:
    folder = resources.files("safedeploy") / "targets"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
