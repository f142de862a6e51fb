"""The comparison at matched accuracy, on hand-worked rows: interpolation, intervals over seeds, the frontier."""

import numpy as np
import pytest

from benchmarks.pareto import cells, parse, recipe_of
from benchmarks.pareto_frontier import interval, paired, strongest, summary
from safedeploy.errors import UserError
from safedeploy.recipe import Recipe


def rows(method, points, size=100, density=1.0):
    """One row a seed and attack, (accuracy, auc) a seed; a second, weaker attack, and the control above all."""
    common = {"data": "digits", "model": "mlp", "method": method, "density": density, "bytes": size, "seconds": 1.0}
    return [
        common
        | {
            "seed": seed,
            "test_accuracy": accuracy,
            "attack": attack,
            "auc": value,
            "tpr_1": 0.1,
            "balanced_accuracy": 0.5,
        }
        for seed, (accuracy, auc) in enumerate(points)
        for attack, value in (("rmia-online", auc), ("loss", auc - 0.05), ("correctness", 0.99), ("neural-black", 0.5))
    ]


CONTROL = [
    *rows("dense", [(0.8, 0.9), (0.8, 0.9)]),
    *rows("dense+early-stop:epochs=3", [(0.6, 0.7), (0.6, 0.7)]),
]


def line(found, method):
    return next(one for one in found if one["method"] == method)


def test_a_method_is_held_against_dense_training_stopped_at_its_accuracy():
    """Between (.6, .7) and (.8, .9) the line at .7 is .8: .65 leaks half of that above chance."""
    found = line(summary([*CONTROL, *rows("set", [(0.7, 0.65), (0.7, 0.65)], 50, 0.2)]), "set")
    assert found["dense_auc"] == pytest.approx(0.8)
    assert found["leakage_ratio"] == pytest.approx(0.5)
    assert found["difference"].startswith("-0.150 (-0.150")
    assert found["matched"] == "yes"


@pytest.mark.parametrize(("accuracy", "told"), [(0.5, "below the first stop"), (0.85, "above dense")])
def test_beyond_the_curve_is_said(accuracy, told):
    found = summary([*CONTROL, *rows("set", [(accuracy, 0.6)] * 2)])
    assert line(found, "set")["matched"] == told


def test_the_strongest_attack_judges_and_the_control_never_does():
    assert {row["attack"] for row in strongest(rows("set", [(0.7, 0.65)]))} == {"rmia-online"}


def test_students_interval_by_hand():
    """Of 1, 2, 3: mean 2, deviation 1, t(0.975; 2) = 4.3027, half width 4.3027 / √3."""
    low, mean, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (low, mean, high) == pytest.approx((2 - 2.48414, 2, 2 + 2.48414), abs=1e-4)


def test_methods_are_paired_by_the_members_they_share():
    """Differences -.1 and -.3: mean -.2, half interval t(.975, 1) · .1 = 1.271; both accuracies differ by -.1."""
    (found,) = paired(
        [*rows("set", [(0.7, 0.6), (0.8, 0.8)]), *rows("rigl", [(0.6, 0.5), (0.7, 0.5)])], "set", ["loss"]
    )
    assert (found["method"], found["beside"]) == ("rigl", "set")
    assert (found["loss"], found["test_accuracy"]) == ("-0.200 ± 1.271", "-0.100 ± 0.000")


def test_judges_take_the_place_of_the_strongest_attack():
    """The curve is judged by them too."""
    found = summary(CONTROL, ["loss"])
    assert {one["attack"] for one in found} == {"loss"}
    assert line(found, "dense")["auc"] == pytest.approx(0.85)
    assert all(one["leakage_ratio"] == pytest.approx(1) for one in found)


def test_a_row_that_another_beats_in_everything_is_off_the_frontier():
    found = summary([*CONTROL, *rows("set", [(0.7, 0.65)] * 2, 50), *rows("rigl", [(0.69, 0.66)] * 2, 60)])
    assert line(found, "set")["frontier"]
    assert not line(found, "rigl")["frontier"]


def test_a_method_is_written_with_its_options_and_defences():
    recipe = parse("safecompress:testers=rmia|lira,score=matched+crossfit:folds=10,weight=0.9+ppb", 0.2)
    assert recipe.name == "safecompress"
    assert recipe.options == {"testers": ["rmia", "lira"], "score": "matched"}
    assert recipe.defences == {"crossfit": {"folds": "10", "weight": "0.9"}, "ppb": {}}
    assert recipe.density == 0.2


def test_what_follows_the_at_is_the_training_and_no_part_of_the_curve():
    recipe = recipe_of(Recipe(), "set:interval=50+crossfit@augment=crop-flip,padding=2,epochs=60", 0.2)
    assert (recipe.training.augment, recipe.training.padding, recipe.training.epochs) == ("crop-flip", 2, 60)
    assert (recipe.method.name, recipe.method.options, recipe.method.defences) == (
        "set",
        {"interval": "50"},
        {"crossfit": {}},
    )
    with pytest.raises(UserError, match=r"training.augment: unknown value 'zoom'"):
        recipe_of(Recipe(), "set@augment=zoom", 0.2)
    other = rows("dense+early-stop:epochs=5@augment=flip", [(0.7, 0.5)] * 2)
    assert line(summary([*CONTROL, *other, *rows("set", [(0.7, 0.65)] * 2)]), "set")["dense_auc"] == pytest.approx(0.8)


def test_a_judge_judges_at_views_too():
    asked = rows("set", [(0.7, 0.65)] * 2)
    more = [row | {"attack": "rmia-online at 10 views", "auc": 0.75} for row in asked[::4]]
    assert line(summary([*CONTROL, *asked, *more], ["rmia-online"]), "set")["auc"] == pytest.approx(0.75)


def test_dense_methods_are_trained_at_density_one_alone():
    class Given:
        methods, stops, densities = ("dense", "set"), [3], (0.1, 0.2)

    assert cells("digits", Given) == [("dense", 1.0), ("set", 0.1), ("set", 0.2), ("dense+early-stop:epochs=3", 1.0)]
