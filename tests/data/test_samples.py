"""Samples for a stranger's file, and members that are also non-members."""

import numpy as np
import pytest

from safedeploy.data.samples import Samples, check_disjoint, read_samples
from safedeploy.errors import UserError

X = np.random.default_rng(0).normal(size=(8, 1, 4, 4)).astype(np.float32)
Y = np.arange(8) % 3


def read(tmp_path, shape=(1, 4, 4), classes=3, **arrays):
    np.savez(tmp_path / "m.npz", **arrays)
    return read_samples(tmp_path / "m.npz", input_shape=shape, classes=classes)


def test_samples_come_back_as_float32_and_int64(tmp_path):
    samples = read(tmp_path, x=X.astype(np.float64), y=Y.astype(np.int16))
    assert (samples.x.dtype, samples.y.dtype) == (np.float32, np.int64)
    assert np.array_equal(samples.x, X)
    assert np.array_equal(samples.y, Y)


def with_nan():
    x = X.copy()
    x[2, 0, 1, 3] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X.transpose(0, 2, 3, 1), "y": Y}, r"x has shape \(8, 4, 4, 1\), the model takes \(n, 1, 4, 4\)"),
        ({"x": X[:0], "y": Y[:0]}, "holds no examples"),
        ({"x": X, "y": Y[:7]}, "8 examples in x and 7 labels in y"),
        ({"x": X, "y": Y + 1}, r"2 labels are out of range 0 to 2, the first is 3 at \[2\]"),
        ({"x": X, "y": Y - 1}, r"3 labels are out of range 0 to 2, the first is -1 at \[0\]"),
        ({"x": X, "y": Y + 0.5}, "labels must be whole numbers"),
        ({"x": with_nan(), "y": Y}, r"1 NaN or infinite values, the first at \[2, 0, 1, 3\]"),
        ({"x": X}, "no array 'y'"),
        ({"x": np.array([{}] * 8), "y": Y}, "never unpickled"),
    ],
)
def test_samples_a_model_cannot_take_are_refused_in_one_line(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, **arrays)
    assert "\n" not in str(caught.value)
    assert "m.npz" in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.npz: No such file"):
        read_samples(tmp_path / "nowhere.npz", input_shape=(1, 4, 4), classes=3)


def test_shared_examples_are_counted_by_content():
    members = Samples(X[:5], Y[:5])
    check_disjoint(members, Samples(X[5:], Y[5:]))
    overlapping = Samples(np.concatenate([X[3:], X[4:5]]), np.concatenate([Y[3:], Y[4:5]]))
    with pytest.raises(UserError, match="3 of the 6 non-members are also members"):
        check_disjoint(members, overlapping)


def test_minus_zero_is_the_same_content_as_zero():
    zeros = Samples(np.zeros((1, 2), np.float32), Y[:1])
    with pytest.raises(UserError, match="1 of the 1"):
        check_disjoint(zeros, Samples(-zeros.x, Y[:1]))
