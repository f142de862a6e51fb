"""What every result file is made of: typed, versioned, written whole; what a model file is."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safedeploy.errors import UserError
from safedeploy.rundir import write_text

Access = Literal["black", "white"]
Probability = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]


class Result(BaseModel):
    """Base of everything written to disk: unknown fields are refused, infinities too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class ResultFile(Result):
    """A result that is a file of its own; `schema` is the version a reader checks."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")

    def write(self, path: Path) -> None:
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}." for part in first["loc"])[:-1]
            fault = f"{where}: {first['msg']}" if where else first["msg"]
            raise UserError(f"{path} is not a {cls.__name__} file: {fault}; make it again") from None


class ArtifactInfo(Result):
    """What was attacked or timed. `zip_bytes` is the size of a zip holding the file alone, deflate level 9."""

    path: str
    sha256: str
    format: Literal["onnx", "executorch", "torch", "scores"]
    size_bytes: int
    zip_bytes: int


class SampleCounts(Result):
    members: int
    nonmembers: int
