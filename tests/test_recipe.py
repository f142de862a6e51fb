"""Recipes: what is written is read back, and every fault is one line that names the key."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.errors import UserError
from safedeploy.recipe import Recipe, read_recipe, validate

shares = st.floats(0.01, 0.15)
recipes = st.builds(
    lambda name, seed, density, known, options, budget: validate(
        {
            "name": name,
            "seed": seed,
            "method": {"name": "set", "density": density, "options": options},
            "split": {"known": known},
            "audit": {"budget": budget},
        },
        "test",
    ),
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.integers(0, 2**63 - 1),
    st.floats(1e-6, 1),
    shares,
    st.dictionaries(st.text(max_size=8), st.one_of(st.integers(0, 9), st.booleans(), st.text(max_size=8)), max_size=3),
    st.dictionaries(st.sampled_from(["auc", "tpr@0.001", "tpr@.05"]), st.floats(0.5, 1), max_size=3),
)


def refused(content):
    with pytest.raises(UserError) as caught:
        validate(content, "here.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("here.toml: ")
    return message.removeprefix("here.toml: ")


@settings(max_examples=50, deadline=None)
@given(recipes)
def test_a_written_recipe_reads_back_equal(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    recipe.write(path)
    assert read_recipe(path) == recipe


def test_the_defaults_are_written_out_in_full(tmp_path):
    """A run's recipe must not change when a later version has other defaults."""
    Recipe().write(tmp_path / "recipe.toml")
    written = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert written["training"]["milestones"] == [0.5, 0.75]
    assert set(written) == set(Recipe.model_fields)
    for section, values in Recipe().model_dump(exclude_none=True).items():
        assert written[section] == values


def test_what_is_left_out_has_its_default():
    assert validate({"training": {"epochs": 3}}, "test").training.epochs == 3
    assert validate({"training": {"epochs": 3}}, "test").training.momentum == Recipe().training.momentum


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"trainig": {}}, "trainig"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"epochs": "many"}}, "training.epochs"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate"),
        ({"training": {"milestones": [0.5, 1.5]}}, "training.milestones.1"),
        ({"training": {"device": "tpu"}}, "training.device"),
        ({"method": {"density": 0}}, "method.density"),
        ({"method": {"density": 1.01}}, "method.density"),
        ({"split": {"known": 0.0}}, "split.known"),
        ({"split": {"evaluation": 1.0}}, "split.evaluation"),
        ({"seed": -1}, "seed"),
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "."}, "name"),
        ({"audit": {"budget": {"aucc": 0.6}}}, "audit.budget"),
        ({"audit": {"budget": {"auc": 0.4}}}, "audit.budget"),
        ({"audit": {"budget": {"tpr@0.001": 0}}}, "audit.budget"),
        ({"audit": {"budget": {"tpr@1": 0.5}}}, "audit.budget"),
        ({"bench": {"threads": 0}}, "bench.threads"),
        ({"data": 5}, "data"),
    ],
)
def test_a_fault_names_its_key(content, key):
    assert refused(content).startswith(f"{key}: ")


def test_shares_that_take_more_than_there_is_are_added_up_for_the_user():
    message = refused({"split": {"known": 0.3, "evaluation": 0.3}})
    total = 2 * 0.6 + Recipe().split.validation + Recipe().split.test
    assert message.startswith(f"split: the shares add up to {total:.2f}")


def test_shares_may_take_everything():
    filled = {"known": 0.2, "evaluation": 0.2, "validation": 0.1, "test": 0.1}
    assert validate({"split": filled}, "test").split.evaluation == 0.2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"epochs = = 3", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"seed = -4", "seed: "),
        (b"[data]\nsorce = 'x'", "data.sorce: "),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, content, says):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named_too(tmp_path):
    for path, says in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=says) as caught:
            read_recipe(path)
        assert str(path) in str(caught.value)
