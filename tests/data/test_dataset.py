"""The road from raw examples to a model's input."""

import dataclasses

import numpy as np
import pytest

from safedeploy.data.dataset import Dataset, preprocess, preprocessing
from safedeploy.data.load import load_dataset
from safedeploy.data.split import draw_split
from safedeploy.recipe import DataRecipe, SplitRecipe
from safedeploy.results import Preprocessing


def table(x):
    return Dataset("t", "table", x.astype(np.float32), np.arange(len(x)) % 2, ("a", "b"))


def test_preprocessing_is_scale_then_mean_then_deviation_by_channel():
    x = np.array([0, 255, 51, 102], np.uint8).reshape(1, 2, 2, 1)
    how = Preprocessing(raw="", scale=1 / 255, mean=[0.5, 0.2], std=[0.5, 0.1])
    assert preprocess(x, how).ravel() == pytest.approx([-1, 1, 0, 2], abs=1e-6)
    assert preprocess(x, how).dtype == np.float32


def test_table_columns_are_standardised_with_members_alone():
    rows = np.random.default_rng(0).normal(3, 2, (200, 4))
    rows[:, 3] = 7
    data = table(rows)
    split = draw_split(data.y, None, SplitRecipe(), 0, data.fingerprint)
    members = split.indices("member_known", "member_eval")
    others = np.setdiff1d(np.arange(200), members)
    changed = rows.copy()
    changed[others] += 100
    how = preprocessing(data, split)
    assert how == preprocessing(table(changed), split)
    z = preprocess(data.x, how)[members]
    assert z.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-5)
    assert z.std(axis=0) == pytest.approx([1, 1, 1, 0], abs=1e-5)


def test_the_fingerprint_changes_with_a_pixel_a_label_or_a_shape():
    digits = load_dataset(DataRecipe(source="digits"))
    assert digits.fingerprint == load_dataset(DataRecipe(source="digits")).fingerprint
    x, y = digits.x.copy(), digits.y.copy()
    x[0, 0, 0, 0] += 1
    y[0] += 1
    changed = [{"x": x}, {"y": y}, {"x": digits.x.reshape(-1, 1, 4, 16)}]
    prints = {dataclasses.replace(digits, **change).fingerprint for change in changed}
    assert len(prints | {digits.fingerprint}) == 4
