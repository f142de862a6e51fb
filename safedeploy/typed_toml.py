"""TOML a person writes (targets, device profiles), read into a type; a fault is one line that names file and key."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from safedeploy.errors import UserError
from safedeploy.recipe import explain

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of `path`; `what` is what the file is of ('target'), for the UserError where it is no TOML file."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"), f"{what} {path}")
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{what} {path} is not TOML: {error}") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not TOML: {error}") from None


def typed(model: type[AnyModel], content: dict[str, Any], source: str) -> AnyModel:
    """`content` as `model`. Raises UserError with `source` and the first faulty key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error, model)}") from None
