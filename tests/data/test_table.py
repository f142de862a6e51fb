"""A CSV or Parquet table as a data set."""

import numpy as np
import pandas as pd
import pytest

from safedeploy.data.load import load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe

FRAME = pd.DataFrame(
    {
        "age": [30, 41, 25, 60],
        "city": ["Bonn", "Aachen", "Bonn", "Celle"],
        "member": [True, False, False, True],
        "income": [1.5, 2.0, 0.25, 9.0],
        "risk": ["low", "high", "low", "high"],
    }
)


@pytest.fixture
def load(tmp_path):
    def of(frame, suffix=".csv", label="risk"):
        path = tmp_path / f"people{suffix}"
        if suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path)
        return load_dataset(DataRecipe(source=str(path), label=label))

    return of


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_stay_and_categories_become_one_hot_in_column_order(load, suffix):
    data = load(FRAME, suffix)
    assert data.x.tolist() == [
        [30, 0, 1, 0, 1, 1.5],
        [41, 1, 0, 0, 0, 2.0],
        [25, 0, 1, 0, 0, 0.25],
        [60, 0, 0, 1, 1, 9.0],
    ]
    assert (data.kind, data.name, data.preprocessing) == ("table", "people", None)
    assert data.class_names == ("high", "low")
    assert data.y.tolist() == [1, 0, 1, 0]


def test_numeric_labels_are_sorted_as_numbers(load):
    data = load(FRAME.assign(risk=[10, 9, 10, 9]))
    assert data.class_names == ("9", "10")
    assert data.y.tolist() == [1, 0, 1, 0]


def test_the_label_column_is_called_label_where_nothing_is_said(load):
    assert load(FRAME.rename(columns={"risk": "label"}), label=None).class_names == ("high", "low")


def test_missing_categories_are_a_category_of_their_own(load):
    data = load(FRAME.assign(city=["Bonn", None, "Bonn", None]))
    assert data.x[:, 1:3].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("change", "label", "message"),
    [
        ({}, "risc", "no column 'risc'; did you mean 'risk'"),
        ({}, None, "no column 'label'; name the label's with --label .columns: age, city, member, income, risk."),
        ({"income": [1.0, None, None, 2.0]}, "risk", "column 'income' has 2 missing values"),
        ({"income": [1.0, float("inf"), 2.0, 3.0]}, "risk", r"column 'income' has 1 NaN or infinite values"),
        ({"risk": ["low", None, "low", "high"]}, "risk", "label column 'risk' is empty in 1 rows"),
        ({}, "income", r"label column 'income' holds 1\.5: that is no class"),
        ({"risk": ["low"] * 4}, "risk", "has 1 class"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line_that_names_the_column(load, change, label, message):
    with pytest.raises(UserError, match=message) as caught:
        load(FRAME.assign(**change), label=label)
    assert "\n" not in str(caught.value)


def test_dates_and_free_text_are_refused_by_column(load):
    with pytest.raises(UserError, match="column 'when' is of type datetime64"):
        load(FRAME.assign(when=pd.Timestamp("2020-01-01")), ".parquet")
    many = pd.DataFrame({"note": [f"text {i}" for i in range(1500)], "risk": np.arange(1500) % 2})
    with pytest.raises(UserError, match="column 'note' has 1,500 different values"):
        load(many)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x80\n\x81", b"a,b\n1,2\n1,2,3,4\n"])
def test_a_file_that_is_no_table_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot read") as caught:
        load_dataset(DataRecipe(source=str(tmp_path / name), label="b"))
    assert "\n" not in str(caught.value)
