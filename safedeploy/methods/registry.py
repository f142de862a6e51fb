"""What `compress --method NAME --defence NAME` names: one file each, imported when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from safedeploy.errors import UserError, unknown
from safedeploy.methods.base import Context, Options
from safedeploy.recipe import MethodRecipe, explain
from safedeploy.structures import KINDS, kind_of
from safedeploy.training.hooks import Hooks
from safedeploy.training.together import Together


@dataclass(frozen=True)
class Entry:
    """private: it looks at members through nothing but the gradient of each, so DP-SGD's guarantee holds beside it."""

    module: str
    options: str
    sparse: bool
    structures: tuple[str, ...] = ("irregular",)
    private: bool = False


@dataclass(frozen=True)
class Defence:
    """teaches: it says what members are taught in place of their labels, of which there can be one.

    private: as of a method.
    """

    module: str
    options: str
    teaches: bool = False
    private: bool = False


METHODS = {
    "dense": Entry("dense", "DenseOptions", sparse=False, private=True),
    "magnitude": Entry("magnitude", "MagnitudeOptions", sparse=True, structures=KINDS, private=True),
    "mcmia": Entry("mcmia", "McmiaOptions", sparse=True, structures=KINDS),
    "reweighted": Entry("reweighted", "ReweightedOptions", sparse=True, structures=KINDS, private=True),
    "rigl": Entry("rigl", "RiglOptions", sparse=True, structures=KINDS, private=True),
    "safecompress": Entry("safecompress", "SafeCompressOptions", sparse=True, structures=KINDS),
    "set": Entry("set", "SetOptions", sparse=True, structures=KINDS, private=True),
}

DP = "dpsgd"

DEFENCES = {
    "adv-reg": Defence("adversarial", "AdvRegOptions"),
    "crossfit": Defence("crossfit", "CrossFitOptions", teaches=True),
    "distill": Defence("distill", "DistillOptions", teaches=True),
    DP: Defence("dpsgd", "DpSgdOptions"),
    "early-stop": Defence("early_stop", "EarlyStopOptions", private=True),
    "hamp": Defence("hamp", "HampOptions", teaches=True),
    "label-smoothing": Defence("label_smoothing", "LabelSmoothingOptions", teaches=True, private=True),
    "ppb": Defence("ppb", "PpbOptions"),
    "relaxloss": Defence("relaxloss", "RelaxLossOptions", teaches=True),
}


def read_options(recipe: MethodRecipe) -> Options:
    """The method's options, defaults filled in; a fault is one line that names the option."""
    if recipe.name not in METHODS:
        raise unknown("method", recipe.name, METHODS)
    return _read(f"--method {recipe.name}", method_options(recipe.name), recipe.options)


def method_options(name: str) -> type[Options]:
    entry = METHODS[name]
    model: type[Options] = getattr(import_module(f"safedeploy.methods.{entry.module}"), entry.options)
    return model


def defence_options(name: str) -> type[Options]:
    entry = DEFENCES[name]
    model: type[Options] = getattr(import_module(f"safedeploy.methods.defences.{entry.module}"), entry.options)
    return model


def make_method(recipe: MethodRecipe, context: Context) -> Hooks:
    """The method's hooks, with those of its defences. Raises UserError for what cannot be."""
    options = read_options(recipe)
    if not METHODS[recipe.name].sparse and recipe.density != 1:
        raise UserError(f"--method {recipe.name} keeps every weight: leave out --density {recipe.density:g}")
    _require_structure(recipe)
    _require_together(recipe)
    make: Any = import_module(f"safedeploy.methods.{METHODS[recipe.name].module}").make
    hooks: Hooks = make(options, context)
    if not recipe.defences and recipe.quantise is None:
        return hooks
    parts = {recipe.name: hooks, **{name: _defence(recipe, name, context) for name in recipe.defences}}
    if recipe.quantise is not None:
        from safedeploy.methods.quantised import QuantisationAware

        # behind the method, whose steps are to meet the exact weights
        parts["quantise"] = QuantisationAware(recipe.quantise, recipe.quantise_at, context)
    # what DP-SGD has made of the gradients is all that the others may see of them
    return Together(dict(sorted(parts.items(), key=lambda part: part[0] != DP)))


def _defence(recipe: MethodRecipe, name: str, context: Context) -> Hooks:
    options = _read(f"--defence {name}", defence_options(name), recipe.defences[name])
    make: Any = import_module(f"safedeploy.methods.defences.{DEFENCES[name].module}").make
    hooks: Hooks = make(options, context)
    return hooks


def _read(who: str, model: type[Options], given: Mapping[str, Any]) -> Options:
    for option in given:
        if not model.model_fields:
            raise UserError(f"{who} takes no options: leave out '{option}'")
        if option not in model.model_fields:
            raise unknown(f"option of {who}", option, model.model_fields)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise UserError(f"{who}: {explain(error, model)}") from None


def _require_structure(recipe: MethodRecipe) -> None:
    kind = kind_of(recipe.structure)
    if kind not in METHODS[recipe.name].structures:
        able = " or ".join(name for name, entry in METHODS.items() if kind in entry.structures)
        keeps = "keeps every weight" if not METHODS[recipe.name].sparse else "prunes single weights only, so far"
        raise UserError(f"--method {recipe.name} {keeps}: for --structure {recipe.structure} choose --method {able}")


def _require_together(recipe: MethodRecipe) -> None:
    for name in recipe.defences:
        if name not in DEFENCES:
            raise unknown("defence", name, DEFENCES)
    if DP in recipe.defences:
        _require_private(recipe)
    teaching = [name for name in recipe.defences if DEFENCES[name].teaches]
    if len(teaching) > 1:
        raise UserError(f"--defence {teaching[0]} and {teaching[1]} both say what members are taught: keep one of them")


def _require_private(recipe: MethodRecipe) -> None:
    """Beside DP-SGD nothing may look at members but through their gradients."""
    more = f"does more with members than --defence {DP} can make private"
    if not METHODS[recipe.name].private:
        able = ", ".join(name for name, entry in METHODS.items() if entry.private)
        raise UserError(f"--method {recipe.name} {more}: choose one of {able}")
    for name in recipe.defences:
        if name != DP and not DEFENCES[name].private:
            raise UserError(f"--defence {name} {more}: leave out one of them")
