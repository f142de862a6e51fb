"""What a recipe holds where little was said."""

import pytest

from safedeploy.compose import make_recipe

USUAL = {"testers": ["rmia"], "strategies": ["magnitude/random", "set/random"]}
TWICE = {"crossfit": {"folds": 4, "generations": 2}}


def test_nothing_said_is_safecompress_tested_by_rmia_and_taught_by_teachers():
    method = make_recipe(data="location30").method
    assert (method.name, method.options, method.defences) == ("safecompress", USUAL, TWICE)
    method = make_recipe().method  # digits are so few that teachers know too little
    assert (method.name, method.options, method.defences) == ("safecompress", USUAL, {"relaxloss": {}})


@pytest.mark.parametrize("name", ["safecompress", "set", "dense"])
def test_a_method_that_is_asked_for_comes_alone(name, tmp_path):
    assert make_recipe(method=name).method.defences == {}
    (tmp_path / "r.toml").write_text(f"[method]\nname = '{name}'\ndensity = 1.0\n")
    method = make_recipe(tmp_path / "r.toml").method
    assert (method.options, method.defences) == ({}, {})


def test_what_is_said_takes_the_place_of_its_own_part_alone(tmp_path):
    assert make_recipe(defences=["ppb"]).method.defences == {"ppb": {}}
    assert make_recipe(data="location30", options={"crossfit.repeats": 1}).method.defences == {
        "crossfit": {"folds": 4, "generations": 2, "repeats": 1}
    }
    assert make_recipe(options={"testers": ["lira"]}).method.options == USUAL | {"testers": ["lira"]}
    pairs = {"prune": ["taylor"], "grow": ["momentum"]}
    assert make_recipe(options=pairs).method.options == {"testers": ["rmia"], **pairs}
    (tmp_path / "r.toml").write_text("[method]\ndensity = 0.3\n[method.defences]\n")
    method = make_recipe(tmp_path / "r.toml").method
    assert (method.density, method.defences, method.options) == (0.3, {}, USUAL)


def test_few_weights_are_reached_little_by_little_where_the_structure_can_be():
    assert make_recipe(data="fashion-mnist").method.options == USUAL | {"shrink_until": 0.5}
    assert make_recipe(data="fashion-mnist", structure="2:4").method.options == USUAL
    assert make_recipe(data="fashion-mnist", options={"stop_at": 0.4}).method.options == USUAL | {"stop_at": 0.4}
    assert make_recipe(data="fashion-mnist", options={"shrink_until": 0.3}).method.options["shrink_until"] == 0.3
    assert make_recipe(data="fashion-mnist", method="set").method.options == {}


def test_the_papers_attackers_test_alone_where_they_are_asked_for():
    assert make_recipe(attacker="both").method.options == {"attacker": "both", "strategies": USUAL["strategies"]}


def test_weights_that_may_have_seen_the_members_bring_no_teachers(tmp_path):
    """They would begin with them too, and a teacher that knows everybody hides nobody."""
    assert make_recipe(data="cifar10", init="torchvision:resnet18").method.defences == {}
    assert make_recipe(init="model.safetensors").method.defences == {"relaxloss": {}}
    (tmp_path / "r.toml").write_text("[data]\nsource = 'location30'\n[model]\nname = 'mlp'\ninit = 'hf:some/one'\n")
    assert make_recipe(tmp_path / "r.toml").method.defences == {}


@pytest.mark.parametrize(
    ("data", "options"),
    [("fashion-mnist", {}), ("cifar10", {}), ("ag-news", {}), ("own.npz", TWICE["crossfit"]), (".", {})],
)
def test_teachers_that_cost_much_come_once(data, options):
    assert make_recipe(data=data).method.defences == {"crossfit": options}
