"""A recipe out of what is said, else a file, else the data set's defaults."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safedeploy.defaults import default_name, defaults, usual_method
from safedeploy.errors import UserError
from safedeploy.hub import PREFIX
from safedeploy.recipe import Recipe, read_recipe, validate
from safedeploy.structures import n_of_m


def make_recipe(
    file: Path | None = None,
    *,
    data: str | None = None,
    data_root: str | None = None,
    label: str | None = None,
    sensitive: str | None = None,
    text: str | None = None,
    length: int | None = None,
    model: str | None = None,
    init: str | None = None,
    method: str | None = None,
    defences: Sequence[str] | None = None,
    density: float | None = None,
    structure: str | None = None,
    quantise: str | None = None,
    attacker: str | None = None,
    min_max: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    augment: str | None = None,
    device: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    target: str | None = None,
    options: Mapping[str, Any] | None = None,
    budget: Mapping[str, float] | None = None,
    canaries: int | None = None,
    attacks: Sequence[str] | None = None,
    references: int | None = None,
) -> Recipe:
    """A whole recipe; None leaves a value to `file`, and what that leaves to the data set's defaults.

    `options` are the method's own, `attacker` and `min_max` two of them, and NAME.KEY those of a defence. `defences`
    take the place of the file's, whose options they keep. Raises UserError that names the faulty key.
    """
    content: dict[str, Any] = {}
    if file is not None:
        read_recipe(file)  # its own errors name the file
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    source = data or content.get("data", {}).get("source", "digits")
    published = (model or content.get("model", {}).get("name", "")).startswith(PREFIX)
    usual = defaults(source, text=bool(text or content.get("data", {}).get("text")), published=published)
    usually = {key: usual.pop(key, {}) for key in ("model", "density", "defences", "safecompress")}
    asked = method or content.get("method", {}).get("name")
    filled: dict[str, Any] = {
        "data": {"source": source},
        "model": {"name": usually["model"]},
        "method": {"density": 1.0 if asked == "dense" else usually["density"]},
        "training": usual,
    }
    for section, values in content.items():
        filled[section] = {**filled.get(section, {}), **values} if isinstance(values, dict) else values
    flags = {"attacker": attacker, "min_max": min_max}
    typed = {**(options or {}), **{key: value for key, value in flags.items() if value is not None}}
    if asked is None:
        # teachers that begin with weights which may have seen the members hide nobody
        begun = init or content.get("model", {}).get("init")
        beside = {name: given for name, given in usually["defences"].items() if not (begun and name == "crossfit")}
        kept = structure or content.get("method", {}).get("structure", "")
        filled["method"] = usual_method(typed, kept, usually["safecompress"], beside) | filled["method"]
    _put(filled, "data", source=data, root=_absolute(data_root), label=label, sensitive=sensitive)
    _put(filled, "data", text=text, length=length)
    _put(filled, "model", name=_placed(model), init=_found(init))
    own, others = _by_defence(filled, typed, defences)
    if density is None and "density" not in content.get("method", {}):
        density = _implied(structure or content.get("method", {}).get("structure", ""))
    _put(filled, "method", name=method, density=density, structure=structure, options=_merged(filled, own))
    _put(filled, "method", defences=others, quantise=quantise)
    _put(filled, "training", epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, device=device)
    _put(filled, "training", augment=augment, canaries=canaries)
    _put(filled, "audit", budget=dict(budget) if budget else None, attacks=attacks and list(attacks))
    _put(filled, "audit", references=references)
    filled.update(
        {key: value for key, value in {"seed": seed, "name": name, "target": target}.items() if value is not None}
    )
    filled.setdefault("name", default_name(source, filled["model"]["name"], filled["method"]["name"]))
    return validate(filled, "the options" if file is None else f"{file} with the options")


def _implied(structure: str) -> float | None:
    """The density that a structure says itself, as 2:4 does."""
    named = n_of_m(structure)
    return named[0] / named[1] if named and named[0] < named[1] else None


def _put(content: dict[str, Any], section: str, **values: Any) -> None:
    """Set what was said over what `content` says."""
    given = {key: value for key, value in values.items() if value is not None}
    if given:
        content[section] = {**content.get(section, {}), **given}


def _by_defence(
    content: dict[str, Any], typed: dict[str, Any], defences: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]] | None]:
    """The options that are the method's, and those of the defences by name; None where nothing was said of these."""
    own = {key: value for key, value in typed.items() if "." not in key}
    there: dict[str, dict[str, Any]] = content["method"].get("defences", {})
    wanted = {name: dict(there.get(name, {})) for name in (there if defences is None else defences)}
    for key, value in typed.items():
        name, dot, option = key.partition(".")
        if dot and name not in wanted:
            raise UserError(f"--option {key}: no defence '{name}' was asked for; add --defence {name}")
        if dot:
            wanted[name][option] = _absolute(value) if option == "teacher" and isinstance(value, str) else value
    return own, wanted if wanted or defences is not None else None


def _merged(content: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any] | None:
    return {**content["method"].get("options", {}), **typed} or None


def _placed(model: str | None) -> str | None:
    """A folder with a model is found again from any folder."""
    place = Path(model.removeprefix(PREFIX)).expanduser() if model and model.startswith(PREFIX) else None
    return f"{PREFIX}{place.resolve()}" if place is not None and place.is_dir() else model


def _found(init: str | None) -> str | None:
    """A file of weights is found again from any folder."""
    return init if init is None or init.startswith(("hf:", "torchvision:")) else _absolute(init)


def _absolute(root: str | None) -> str | None:
    """A run, its data and its teacher are found again from any folder."""
    return None if root is None else str(Path(root).expanduser().resolve())
