"""The user's own model: a function named as package.module:function or path/to/file.py:function, called."""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from safedeploy.errors import UserError, unknown


def build(name: str, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Call the factory and try its model on zeros. Raises UserError where either fails or gives something else.

    The factory gets input_shape and classes by keyword if it names them, else classes as num_classes or as its first
    positional argument if it takes one, else nothing.
    """
    place, _, function = name.rpartition(":")
    folder = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    with _importable(folder):
        module = _file(Path(place)) if place.endswith(".py") else _package(place)
        make = getattr(module, function, None)
        if not callable(make):
            raise unknown(f"function of {place}", function, _functions(module))
        positional, named = _arguments(make, input_shape, classes)
        try:
            model = make(*positional, **named)
        except Exception as error:
            raise UserError(f"--model {name}: calling it failed with {_told(error)}") from error
        if not isinstance(model, nn.Module):
            raise UserError(f"--model {name} returned {_described(model)}; it must return a torch.nn.Module")
        _probe(model, name, input_shape, classes)
    return model.train()


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in `folder` can be imported, as for a script that lies there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"--model {path}: no such file")
    name = f"safedeploy_model_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"--model {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look the module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"--model {path}: running the file failed with {_told(error)}") from error
    return module


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UserError(f"--model {name}: importing it failed with {_told(error)}") from error


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def _arguments(
    make: Callable[..., Any], input_shape: tuple[int, ...], classes: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return (), {}
    offered = {"input_shape": input_shape, "classes": classes, "num_classes": classes}
    named = {
        name: value
        for name, value in offered.items()
        if name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    }
    if named:
        return (), named
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes_one = any(parameter.kind in positional for parameter in parameters.values())
    return ((classes,) if takes_one else ()), {}


def _probe(model: nn.Module, name: str, input_shape: tuple[int, ...], classes: int) -> None:
    """Two zero inputs through the model in evaluation mode, which leaves running statistics as they are."""
    x = torch.zeros(2, *input_shape)
    try:
        with torch.no_grad():
            logits = model.eval()(x)
    except Exception as error:
        raise UserError(f"--model {name}: on input of shape {tuple(x.shape)} it failed with {_told(error)}") from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, classes) or not logits.is_floating_point():
        raise UserError(
            f"--model {name}: on input of shape {tuple(x.shape)} it gave {_described(logits)};"
            f" it must give logits of shape (2, {classes}), one a class"
        )


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _told(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
