"""A recipe out of a file, the data set's defaults, and the options typed: the options win."""

import tomllib
from pathlib import Path
from typing import Any

from safedeploy.cli.options import method_options, put
from safedeploy.defaults import default_name, defaults
from safedeploy.recipe import Recipe, read_recipe, validate


def build_recipe(
    file: Path | None,
    *,
    data: str | None,
    data_root: str | None,
    label: str | None,
    model: str | None,
    method: str | None,
    density: float | None,
    attacker: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    device: str | None,
    seed: int | None,
    name: str | None,
    target: str | None,
    options: list[str] | None = None,
    budget: dict[str, float] | None = None,
) -> Recipe:
    content: dict[str, Any] = {}
    if file is not None:
        read_recipe(file)  # its own errors name the file
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    source = data or content.get("data", {}).get("source", "digits")
    usual = defaults(source)
    method = method or content.get("method", {}).get("name", "safecompress")
    filled: dict[str, Any] = {
        "data": {"source": source},
        "model": {"name": usual["model"]},
        "method": {"name": method, "density": 1.0 if method == "dense" else usual["density"]},
        "training": {key: value for key, value in usual.items() if key not in ("model", "density")},
    }
    for section, values in content.items():
        filled[section] = {**filled.get(section, {}), **values} if isinstance(values, dict) else values
    put(filled, "data", source=data, root=_absolute(data_root), label=label)
    put(filled, "model", name=model)
    put(filled, "method", name=method, density=density, options=_merged(filled, method_options(options, attacker)))
    put(filled, "training", epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, device=device)
    put(filled, "audit", budget=budget or None)
    filled.update(
        {key: value for key, value in {"seed": seed, "name": name, "target": target}.items() if value is not None}
    )
    filled.setdefault("name", default_name(source, filled["model"]["name"], method))
    return validate(filled, "the options" if file is None else f"{file} with the options")


def _merged(content: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any] | None:
    return {**content["method"].get("options", {}), **typed} or None


def _absolute(root: str | None) -> str | None:
    """A run is found again from any folder."""
    return None if root is None else str(Path(root).expanduser().resolve())
