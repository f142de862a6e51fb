"""A deployment target: which files ship to it, how they are quantised, and how far they may stray from the model."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safedeploy.errors import UserError, unknown
from safedeploy.recipe import explain
from safedeploy.results import Probability

FileName = Literal["model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte"]
RuntimeName = Literal["onnxruntime", "executorch"]
Precision = Literal["float32", "int8"]

# What the exporters here write and ONNX Runtime's quantiser takes; a per-channel DequantizeLinear begins at 13.
Opset = Annotated[int, Field(ge=18, le=23)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Quantisation(_Section):
    """Static int8. `activation` and `calibration` (how to find ranges) are ONNX Runtime's; XNNPACK has one of each."""

    activation: Literal["int8", "uint8"] = "int8"
    weight: Literal["int8"] = "int8"
    per_channel: bool = True
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"


class Float32Tolerance(_Section):
    """`logit_difference`: the largest |difference| over the largest |logit| of the torch model on the same inputs."""

    logit_difference: Annotated[float, Field(gt=0)] = 1e-4


class Int8Tolerance(_Section):
    """`top1_agreement`: smallest share of inputs given the same class. `accuracy_lost`: largest fall of accuracy."""

    top1_agreement: Probability = 0.95
    accuracy_lost: Probability = 0.02


class Tolerance(_Section):
    float32: Float32Tolerance = Float32Tolerance()
    int8: Int8Tolerance = Int8Tolerance()


class RuntimeOnTarget(_Section):
    """The package an app on the target depends on, and the first version that runs these files."""

    package: str
    minimum: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")]


class Target(_Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str
    files: Annotated[list[FileName], Field(min_length=1)]
    opset: Opset = 20
    quantisation: Quantisation = Quantisation()
    tolerance: Tolerance = Tolerance()
    runtimes: dict[RuntimeName, RuntimeOnTarget] = {}


def runtime_of(name: FileName) -> RuntimeName:
    return "onnxruntime" if name.endswith(".onnx") else "executorch"


def precision_of(name: FileName) -> Precision:
    return "int8" if ".int8." in name else "float32"


def load_target(name_or_path: str) -> Target:
    """A shipped target by its name, or a user's own by the path of its TOML file (with .toml or a separator in it).

    Raises UserError for an unknown name, with the nearest known one, and for a file that is missing or faulty.
    """
    shipped = _shipped()
    if name_or_path in shipped:
        return _parse(shipped[name_or_path], name_or_path)
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        try:
            return _parse(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise UserError(f"cannot read target {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"target {path} is not TOML: {error}") from None
    raise unknown("target", name_or_path, shipped)


def list_targets() -> list[Target]:
    """The shipped targets, by name."""
    return [_parse(content, name) for name, content in sorted(_shipped().items())]


def _shipped() -> dict[str, str]:
    folder = resources.files("safedeploy") / "targets"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def _parse(content: str, source: str) -> Target:
    try:
        return Target.model_validate(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"target {source} is not TOML: {error}") from None
    except ValidationError as error:
        raise UserError(f"target {source}: {explain(error, Target)}") from None
