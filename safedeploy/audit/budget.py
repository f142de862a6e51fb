"""Privacy budgets as a person types them: auc=0.60, tpr@0.001=0.01."""

from collections.abc import Iterable, Mapping

from safedeploy.errors import UserError
from safedeploy.recipe import TPR_BUDGET, budget_fault


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
        if fault := budget_fault(key, limit):
            raise UserError(f"budget {fault}")


def fprs(budget: Mapping[str, float]) -> list[float]:
    """The false-positive rates a budget asks about."""
    return [float(found.group(1)) for key in budget if (found := TPR_BUDGET.fullmatch(key))]
