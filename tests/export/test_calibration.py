"""Which validation inputs calibrate: none that judges, spread evenly, and as few as leave enough to judge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.export.calibration import ENOUGH_TO_JUDGE, FEWEST, MOST, divide


@given(st.integers(2, 20_000))
def test_every_input_calibrates_or_judges_and_none_does_both(count: int) -> None:
    calibrate, judge = divide(count)
    assert np.array_equal(np.sort(np.r_[calibrate, judge]), np.arange(count))
    assert 1 <= len(calibrate) <= MOST
    assert len(calibrate) <= -(-count // 3)


@given(st.integers(ENOUGH_TO_JUDGE + FEWEST, 20_000))
def test_where_there_are_enough_at_least_500_judge(count: int) -> None:
    assert len(divide(count)[1]) >= ENOUGH_TO_JUDGE


@pytest.mark.parametrize(("count", "calibrating"), [(2, 1), (9, 3), (180, 60), (600, 100), (900, 300), (6000, 512)])
def test_how_many_calibrate(count: int, calibrating: int) -> None:
    assert len(divide(count)[0]) == calibrating


def test_inputs_sorted_by_class_calibrate_with_every_class() -> None:
    labels = np.repeat(np.arange(10), 60)
    assert np.bincount(labels[divide(600)[0]]).tolist() == [10] * 10


def test_one_input_alone_does_both_and_none_does_nothing() -> None:
    assert [part.tolist() for part in divide(1)] == [[0], [0]]
    assert [part.tolist() for part in divide(0)] == [[], []]
