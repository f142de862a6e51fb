"""The one door to torchvision: its wheel's compiled operators do not load beside a CPU-only torch, and importing it then fails."""

import importlib
from typing import Any

from safedeploy.errors import missing_extra

_fragments: list[Any] = []  # a Library that is collected takes its operators with it


def torchvision(module: str = "torchvision") -> Any:
    """`module` of torchvision, after declaring the two operators its import looks for where they are really missing."""
    try:
        import torch
    except ImportError:
        raise missing_extra("this data set or model", "train") from None
    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing_extra("this data set or model", "train") from None
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in importlib.sys.modules if name.split(".")[0] == "torchvision"]:
        del importlib.sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):
        library.define(operator)
    _fragments.append(library)
    return importlib.import_module(module)
