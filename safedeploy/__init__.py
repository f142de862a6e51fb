"""safedeploy: train a classifier small and private, export it, attack the exported file, weigh it and time it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safedeploy.errors import UserError
    from safedeploy.pipeline import audit, bench, compress, export, load, report, resume, run
    from safedeploy.recipe import Recipe, read_recipe

__all__ = ["Recipe", "UserError", "audit", "bench", "compress", "export", "load", "read_recipe", "report", "resume", "run"]

_HOMES = {"Recipe": "recipe", "read_recipe": "recipe", "UserError": "errors"}


def __getattr__(name: str) -> Any:
    """Heavy rooms are imported when they are first asked for, so that `import safedeploy` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'safedeploy' has no attribute '{name}'")
    return getattr(import_module(f"safedeploy.{_HOMES.get(name, 'pipeline')}"), name)
