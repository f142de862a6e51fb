"""A sensitive column is taken out of the inputs, kept beside each example, and refused where it is no category."""

import numpy as np
import pandas as pd
import pytest

from safedeploy.compression import Examples
from safedeploy.data.load import load_dataset
from safedeploy.data.sensitive import MOST_VALUES
from safedeploy.data.split import draw_split
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe, SplitRecipe

FRAME = pd.DataFrame(
    {
        "age": [30, 41, 25, 60],
        "sex": ["male", "female", "female", "male"],
        "hours": [40.0, 38.5, 20.0, 55.0],
        "income": ["low", "high", "low", "high"],
    }
)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(6) % 2


@pytest.fixture
def table(tmp_path):
    def of(frame=FRAME, sensitive="sex", label="income", suffix=".csv"):
        path = tmp_path / f"adult{suffix}"
        frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
        return load_dataset(DataRecipe(source=str(path), label=label, sensitive=sensitive))

    return of


@pytest.fixture
def arrays(tmp_path):
    def of(wanted=None, /, **held):
        path = tmp_path / "faces.npz"
        np.savez(path, **held)
        return load_dataset(DataRecipe(source=str(path), sensitive=wanted))

    return of


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_column_leaves_the_inputs_and_stays_beside_each_example(table, suffix):
    data = table(suffix=suffix)
    assert data.columns == ("age", "hours")
    assert data.x.tolist() == [[30, 40], [41, 38.5], [25, 20], [60, 55]]
    assert (data.sensitive.column, data.sensitive.names) == ("sex", ("female", "male"))
    assert data.sensitive.values.tolist() == [1, 0, 0, 1]
    assert table(sensitive=None, suffix=suffix).columns == ("age", "sex=female", "sex=male", "hours")


def test_numbers_and_truth_values_are_categories_where_they_are_few(table):
    coded = table(FRAME.assign(sex=[2.0, 1.0, 1.0, 2.0]))
    assert (coded.sensitive.names, coded.sensitive.values.tolist()) == (("1", "2"), [1, 0, 0, 1])
    assert table(FRAME.assign(sex=[True, False, False, True])).sensitive.names == ("False", "True")


def test_a_category_of_parquet_and_text_that_looks_like_a_number_are_names(table):
    frame = FRAME.assign(sex=pd.Categorical(["10", "9", "9", "10"]))
    assert table(frame, suffix=".parquet").sensitive.names == ("10", "9")


def test_an_npz_keeps_the_array_called_sensitive_or_the_one_that_is_named(arrays):
    race = np.array(["a", "b", "a", "c", "b", "a"])
    held = {"x": PIXELS, "y": LABELS, "race": race}
    assert arrays(**held).sensitive is None
    named = arrays("race", **held).sensitive
    assert (named.column, named.names, named.values.tolist()) == ("race", ("a", "b", "c"), [0, 1, 0, 2, 1, 0])
    assert arrays(x=PIXELS, y=LABELS, sensitive=race).sensitive.values.tolist() == [0, 1, 0, 2, 1, 0]
    assert arrays(x=PIXELS, y=LABELS, sensitive=race).input_shape == (3, 5, 4)


def test_a_numbered_column_of_an_npz_table_can_be_named_by_its_number(arrays):
    x = np.column_stack([np.arange(6) * 1.5, LABELS[::-1], np.ones(6)])
    data = arrays("1", x=x, y=LABELS)
    assert data.x.tolist() == np.delete(x, 1, axis=1).tolist()
    assert data.sensitive.values.tolist() == LABELS[::-1].tolist()


def test_the_fingerprint_is_also_of_the_column(table):
    prints = {table().fingerprint, table(sensitive=None).fingerprint}
    assert table().fingerprint in prints
    assert len(prints | {table(FRAME.assign(sex=["male", "female", "male", "male"])).fingerprint}) == 3


def test_every_role_carries_each_example_s_own_value(table):
    count = 200
    value = np.random.default_rng(0).integers(0, 3, count)
    frame = pd.DataFrame({"number": np.arange(count), "group": value, "label": np.arange(count) % 2})
    data = table(frame, "group", "label")
    split = draw_split(data.y, None, SplitRecipe(), 0, data.fingerprint)
    examples = Examples(data, split)
    for role in ("member_known", "nonmember_eval", "validation"):
        chosen = split.indices(role)
        assert examples.samples(role).sensitive.tolist() == value[chosen].tolist()
    assert (
        examples.samples("test").at(np.array([2, 0])).sensitive.tolist()
        == value[split.indices("test")[[2, 0]]].tolist()
    )
    assert examples.training().sensitive.tolist() == value[split.indices("member_known", "member_eval")].tolist()


LONG = pd.DataFrame({"age": np.arange(60), "name": [f"p{i}" for i in range(60)], "income": np.arange(60) % 2})


@pytest.mark.parametrize(
    ("frame", "sensitive", "message"),
    [
        (FRAME, "income", "the sensitive column 'income' is the label: name another column"),
        (FRAME, "sexx", "no column 'sexx'; did you mean 'sex'"),
        (FRAME, "religion", r"no column 'religion'; name one of the table's .columns: age, sex, hours, income."),
        (FRAME.assign(sex="male"), "sex", "'sex' holds male alone: nothing to infer"),
        (FRAME.assign(sex=["male", None, None, "female"]), "sex", "'sex' is empty in 2 rows"),
        (FRAME.assign(sex=[1.0, np.nan, 2.0, 1.0]), "sex", "'sex' is empty in 1 rows"),
        (LONG, "age", rf"'age' holds 60 different values, more than {MOST_VALUES}: bin it first, as pandas.qcut"),
        (LONG, "name", rf"'name' holds 60 different values, more than {MOST_VALUES}: merge the rare ones"),
        (FRAME[["sex", "income"]], "sex", "0 columns beside 'income' and 'sex': nothing to learn from"),
    ],
)
def test_what_is_wrong_with_the_column_is_one_line_that_names_it(table, frame, sensitive, message):
    with pytest.raises(UserError, match=message) as caught:
        table(frame, sensitive)
    assert "\n" not in str(caught.value)
    assert "adult.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("sensitive", "held", "message"),
    [
        ("y", {}, "'y' is the label: name another array"),
        ("x", {}, "'x' is the inputs: name another array"),
        ("rase", {"race": LABELS}, r"no array 'rase' for --sensitive .beside x and y it has: race"),
        ("race", {"race": LABELS[:4]}, r"6 examples in x and 'race' of shape \(4,\)"),
        ("race", {"race": np.eye(6)}, r"'race' is float64 of shape \(6, 6\)"),
        ("race", {"race": np.array(["a", "", "b"] * 2)}, "'race' is empty in 2 rows"),
        ("race", {"race": np.array([{}] * 6)}, "never unpickled"),
        ("3", {}, "no sensitive column '3': --sensitive takes a column of a table, or an array of an .npz"),
        (
            "7",
            {"x": np.ones((6, 2))},
            "no sensitive column '7': --sensitive takes one of its columns by number, 0 to 1",
        ),
    ],
)
def test_what_is_wrong_with_an_array_is_one_line_too(arrays, sensitive, held, message):
    with pytest.raises(UserError, match=message) as caught:
        arrays(sensitive, **{"x": PIXELS, "y": LABELS, **held})
    assert "\n" not in str(caught.value)
    assert "faces.npz" in str(caught.value)


@pytest.mark.parametrize("source", ["digits"])
def test_a_data_set_without_columns_has_none_to_hide(source):
    with pytest.raises(UserError, match="digits has no sensitive column 'sex': --sensitive takes a column of a table"):
        load_dataset(DataRecipe(source=source, sensitive="sex"))
