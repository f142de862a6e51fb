"""What `compress --method NAME` names: one file a method, imported when it is asked for."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from safedeploy.errors import UserError, unknown
from safedeploy.methods.base import Context, Options
from safedeploy.recipe import MethodRecipe, explain
from safedeploy.training.hooks import Hooks


@dataclass(frozen=True)
class Entry:
    module: str
    options: str
    sparse: bool
    structures: tuple[str, ...] = ("irregular",)


METHODS = {
    "dense": Entry("dense", "DenseOptions", sparse=False),
    "magnitude": Entry("magnitude", "MagnitudeOptions", sparse=True, structures=("irregular", "channel")),
    "rigl": Entry("rigl", "RiglOptions", sparse=True),
    "safecompress": Entry("safecompress", "SafeCompressOptions", sparse=True),
    "set": Entry("set", "SetOptions", sparse=True),
}


def read_options(recipe: MethodRecipe) -> Options:
    """The method's options, defaults filled in; a fault is one line that names the option."""
    if recipe.name not in METHODS:
        raise unknown("method", recipe.name, METHODS)
    entry = METHODS[recipe.name]
    model: type[Options] = getattr(import_module(f"safedeploy.methods.{entry.module}"), entry.options)
    for option in recipe.options:
        if not model.model_fields:
            raise UserError(f"--method {recipe.name} takes no options: leave out '{option}'")
        if option not in model.model_fields:
            raise unknown(f"option of --method {recipe.name}", option, model.model_fields)
    try:
        return model.model_validate(recipe.options)
    except ValidationError as error:
        raise UserError(f"--method {recipe.name}: {explain(error, model)}") from None


def make_method(recipe: MethodRecipe, context: Context) -> Hooks:
    options = read_options(recipe)
    if not METHODS[recipe.name].sparse and recipe.density != 1:
        raise UserError(f"--method {recipe.name} keeps every weight: leave out --density {recipe.density:g}")
    _require_structure(recipe)
    make: Any = import_module(f"safedeploy.methods.{METHODS[recipe.name].module}").make
    hooks: Hooks = make(options, context)
    return hooks


def _require_structure(recipe: MethodRecipe) -> None:
    if recipe.structure not in METHODS[recipe.name].structures:
        able = " or ".join(name for name, entry in METHODS.items() if recipe.structure in entry.structures)
        keeps = "keeps every weight" if not METHODS[recipe.name].sparse else "prunes single weights only, so far"
        raise UserError(f"--method {recipe.name} {keeps}: for --structure {recipe.structure} choose --method {able}")
