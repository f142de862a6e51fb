"""Budgets as a person types them."""

import pytest

from safedeploy.audit.budget import check_budget, fprs, parse_budget
from safedeploy.errors import UserError


def test_budgets_are_read():
    typed = ["auc=0.60", "tpr@0.001=0.01", " tpr@.05 = .2 ", "advantage=0.1", "epsilon=3"]
    assert parse_budget(typed) == {"auc": 0.6, "tpr@0.001": 0.01, "tpr@.05": 0.2, "advantage": 0.1, "epsilon": 3.0}
    assert parse_budget([]) == {}


def test_the_rates_a_budget_asks_about():
    assert fprs({"auc": 0.6, "tpr@0.001": 0.01, "tpr@.05": 0.2}) == [0.001, 0.05]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("auc", "write KEY=FIGURE"),
        ("auc=", "write KEY=FIGURE"),
        ("auc=high", "write KEY=FIGURE"),
        ("=0.6", "'' is no figure to hold"),
        ("acu=0.6", "'acu' is no figure to hold: they are auc and tpr@FPR"),
        ("tpr=0.6", "'tpr' is no figure"),
        ("tpr@1=0.6", "'tpr@1' is no figure"),
        ("tpr@0.1x=0.6", "'tpr@0.1x' is no figure"),
        ("auc=0.4", "an AUC budget lies between 0.5 and 1"),
        ("auc=1.5", "an AUC budget lies between 0.5 and 1"),
        ("auc=nan", "an AUC budget lies between 0.5 and 1"),
        ("tpr@0.01=0", "a rate lies between 0 and 1"),
        ("tpr@0.01=2", "a rate lies between 0 and 1"),
        ("tpr@0.01=inf", "a rate lies between 0 and 1"),
        ("tpr@0.01=0.005", "a model that leaks nothing reaches 0.01"),
        ("advantage=0", "a rate lies between 0 and 1"),
        ("epsilon=0", "a budget on epsilon is above 0"),
        ("epsilon=inf", "a budget on epsilon is above 0"),
        ("epsilon=nan", "a budget on epsilon is above 0"),
    ],
)
def test_what_is_no_budget_is_one_line(item, says):
    with pytest.raises(UserError) as caught:
        parse_budget([item])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mapping_is_checked_alike():
    check_budget({"auc": 1.0, "tpr@0.5": 1.0})
    with pytest.raises(UserError, match="no figure to hold"):
        check_budget({"accuracy": 0.5})
