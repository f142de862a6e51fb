"""safedeploy: train a classifier small and private, export it, attack the exported file, weigh it and time it."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safedeploy.compose import make_recipe
    from safedeploy.errors import UserError
    from safedeploy.pipeline import (
        attribute,
        audit,
        audit_files,
        audit_scores,
        bench,
        compress,
        export,
        inspect,
        inversion,
        load,
        make_references,
        plan,
        report,
        resume,
        run,
        verify,
    )
    from safedeploy.recipe import Recipe, read_recipe

__all__ = [
    "Recipe",
    "UserError",
    "attribute",
    "audit",
    "audit_files",
    "audit_scores",
    "bench",
    "compress",
    "export",
    "inspect",
    "inversion",
    "load",
    "make_recipe",
    "make_references",
    "plan",
    "read_recipe",
    "report",
    "resume",
    "run",
    "verify",
]

_HOMES = {"make_recipe": "compose", "Recipe": "recipe", "read_recipe": "recipe", "UserError": "errors"}
_ROOMS = ("audit", "bench", "export", "plan", "report")  # packages, and functions of the pipeline


class _Room(ModuleType):
    """A package that answers to a call as the pipeline's function of its name, so that both have it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module("safedeploy.pipeline"), self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        """The import system binds each package here when it is first imported."""
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Heavy rooms are imported when they are first asked for, so that `import safedeploy` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'safedeploy' has no attribute '{name}'")
    if name in _ROOMS:
        return import_module(f"safedeploy.{name}")
    return getattr(import_module(f"safedeploy.{_HOMES.get(name, 'pipeline')}"), name)
