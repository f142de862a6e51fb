"""Samples on their way into a runtime: what is no number is counted, what is merely large passes."""

import numpy as np
import pytest

from safedeploy.artifacts.batches import as_input
from safedeploy.errors import UserError

LARGEST = np.finfo(np.float32).max


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_with_what_is_no_number_are_counted(bad):
    x = np.zeros((100, 3, 4), dtype=np.float32)
    x[7, 1, 2] = x[7, 0, 0] = x[99, 2, 3] = bad
    with pytest.raises(UserError, match="2 of 100 inputs for a file hold NaN or infinite values"):
        as_input(x, (3, 4), "a file")


def test_infinities_that_cancel_are_seen():
    with pytest.raises(UserError, match="1 of 1 inputs"):
        as_input([[np.inf, -np.inf]], (2,), "a file")


def test_numbers_whose_sum_is_too_large_for_a_float_pass():
    x = np.full((10, 3), LARGEST, dtype=np.float32)
    np.testing.assert_array_equal(as_input(x, (3,), "a file"), x)


def test_another_shape_is_refused():
    with pytest.raises(UserError, match=r"inputs of shape \(n, 3\), not \(10, 4\)"):
        as_input(np.zeros((10, 4)), (3,), "a file")
