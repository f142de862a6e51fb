"""The one door to torchvision, whose wheel's compiled operators do not load beside a CPU-only torch: it then fails."""

import importlib
import sys
from typing import Any

from safedeploy.errors import missing_extra

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_fragments: list[Any] = []  # a Library that is collected takes its operators with it


def torchvision(module: str = "torchvision") -> Any:
    """`module` of torchvision, after declaring the two operators its import looks for where they are really missing.

    Raises UserError where torch or torchvision is not installed.
    """
    try:
        import torch

        if "torchvision" not in sys.modules:
            _forget_failed_import()
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "torchvision"):
            raise
        raise missing_extra("this data set or model", "train") from None
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _forget_failed_import()
    untyped: Any = torch.library
    library = untyped.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(operator + _SIGNATURE)
    _fragments.append(library)
    return importlib.import_module(module)


def _forget_failed_import() -> None:
    """Drop the submodules a failed import leaves behind: the next one would find them without their package."""
    for name in [name for name in sys.modules if name.startswith("torchvision.")]:
        del sys.modules[name]
