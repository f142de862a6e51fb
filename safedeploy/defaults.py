"""What a data set is trained with when nothing is said: model, method, epochs, batch size, learning rate, density."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safedeploy.structures import has_one_density

# Two generations of teachers where that is on the frontier (benchmarks/README.md): of perceptrons, which cost little.
_TWICE = {"defences": {"crossfit": {"folds": 4, "generations": 2}}}
_ONCE: dict[str, Any] = {"defences": {"crossfit": {}}}
# Few members: what teachers know of others costs more than it hides.
_RELAXED: dict[str, Any] = {"defences": {"relaxloss": {}}}
_CIFAR = {**_ONCE, "model": "resnet18", "epochs": 100, "batch_size": 128, "learning_rate": 0.1, "augment": "crop-flip"}
_ADAMW = {**_ONCE, "optimizer": "adamw", "weight_decay": 0.01, "batch_size": 32, "density": 0.1}
_TEXT = {"model": "bert-tiny", "epochs": 8, "learning_rate": 1e-3, **_ADAMW}
_PUBLISHED = {"model": "bert-tiny", "epochs": 3, "learning_rate": 5e-5, **_ADAMW}  # Devlin et al. 2019, appendix A.3
_SMALL_IMAGES = {
    **_ONCE,
    "model": "lenet5",
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 0.05,
    "density": 0.05,
    "safecompress": {"shrink_until": 0.5},  # a point more than sparse from the start, at this density
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {**_RELAXED, "model": "lenet5", "epochs": 120, "batch_size": 32, "learning_rate": 0.05, "density": 0.2},
    "mnist": _SMALL_IMAGES,
    "fashion-mnist": _SMALL_IMAGES,
    "cifar10": {**_CIFAR, "density": 0.05},
    "cifar100": {**_CIFAR, "density": 0.1},
    "ag-news": _TEXT,
    "yelp-5": _TEXT,
    "location30": {**_TWICE, "model": "mlp", "epochs": 60, "batch_size": 32, "learning_rate": 0.05, "density": 0.2},
}
_IMAGES = {**_ONCE, "model": "resnet18", "epochs": 60, "batch_size": 64, "learning_rate": 0.05, "density": 0.1}
_ARRAYS = {**_TWICE, "model": "mlp", "epochs": 60, "batch_size": 64, "learning_rate": 0.05, "density": 0.2}


def defaults(source: str, *, text: bool = False, published: bool = False) -> dict[str, Any]:
    """For a built-in name, an image folder, or a file of arrays or a table: what is trained and how; and for where no
    method is asked for, `defences` with their options, and `safecompress`, more of that method's.

    text: whose column of texts is read. published: for a model that comes with its weights.
    """
    if published:
        return dict(_PUBLISHED)
    if text:
        return dict(_TEXT)
    if source in _DEFAULTS:
        return dict(_DEFAULTS[source])
    return dict(_IMAGES if Path(source).expanduser().is_dir() else _ARRAYS)


# Growth by gradients costs accuracy (benchmarks/README.md).
_SAFECOMPRESS = {"testers": ["rmia"], "strategies": ["magnitude/random", "set/random"]}
# an option in place of a usual one
_INSTEAD = {"attacker": "testers", "prune": "strategies", "grow": "strategies", "stop_at": "shrink_until"}


def usual_method(
    typed: Iterable[str], structure: str, safecompress: dict[str, Any], defences: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Where no method is asked for. typed: the options that are; safecompress, defences: what `defaults` says."""
    instead = {_INSTEAD.get(option) for option in typed}
    if has_one_density(structure):
        instead.add("shrink_until")
    return {
        "name": "safecompress",
        "options": {key: value for key, value in {**_SAFECOMPRESS, **safecompress}.items() if key not in instead},
        "defences": defences,
    }


def default_name(source: str, model: str, method: str) -> str:
    """A run's name: data set, model and method, in characters a folder may have."""
    parts = (Path(source).stem if source not in _DEFAULTS else source, Path(model.partition(":")[0]).stem, method)
    return "-".join("".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "-" for c in part) for part in parts)
