"""Privacy budgets as a person types them: auc=0.60, tpr@0.001=0.01."""

import re
from collections.abc import Iterable, Mapping

from safedeploy.errors import UserError

_TPR = re.compile(r"^tpr@(0?\.\d+)$")


def parse_budget(items: Iterable[str]) -> dict[str, float]:
    """'KEY=FIGURE' items as a mapping; the figure is the highest allowed."""
    budget = {}
    for item in items:
        key, equals, figure = item.partition("=")
        try:
            budget[key.strip()] = float(figure)
        except ValueError:
            equals = ""
        if not equals:
            raise UserError(f"--budget {item}: write KEY=FIGURE, as in auc=0.60 or tpr@0.001=0.01")
    check_budget(budget)
    return budget


def check_budget(budget: Mapping[str, float]) -> None:
    for key, limit in budget.items():
        if key != "auc" and not _TPR.match(key):
            raise UserError(f"budget '{key}': the figures are auc and tpr@FPR, as in tpr@0.001")
        if not 0 < limit <= 1 or (key == "auc" and limit < 0.5):
            raise UserError(f"budget {key}={limit:g}: {'an AUC budget lies between 0.5 and 1' if key == 'auc' else 'a rate lies between 0 and 1'}")


def fprs(budget: Mapping[str, float]) -> list[float]:
    """The false-positive rates a budget asks about."""
    return [float(found.group(1)) for key in budget if (found := _TPR.match(key))]
