"""An .npz as a data set: the kind is told by shape, the content is checked."""

import numpy as np
import pytest

from safedeploy.data.dataset import preprocess
from safedeploy.data.load import load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(6) % 2


@pytest.fixture
def load(tmp_path):
    def of(**arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        return load_dataset(DataRecipe(source=str(path)))

    return of


def test_channels_last_and_channels_first_images_are_the_same_data(load):
    last, first = load(x=PIXELS, y=LABELS), load(x=PIXELS.transpose(0, 3, 1, 2), y=LABELS)
    assert first.input_shape == (3, 5, 4)
    assert first.fingerprint == last.fingerprint
    assert np.array_equal(first.x[2, 1], PIXELS[2, :, :, 1])


def test_images_without_a_channel_axis_are_grey(load):
    assert load(x=PIXELS[..., 0], y=LABELS).input_shape == (1, 5, 4)


def test_float_images_reach_the_model_as_integer_ones_do(load):
    integers, floats = load(x=PIXELS, y=LABELS), load(x=PIXELS / 255, y=LABELS)
    assert floats.x.dtype == np.float32
    ours, theirs = (preprocess(data.x, data.preprocessing) for data in (integers, floats))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert -1 <= ours.min() < ours.max() <= 1


def test_two_axes_are_a_table_whose_columns_are_standardised_later(load):
    data = load(x=np.ones((6, 7)), y=LABELS)
    assert (data.kind, data.input_shape, data.preprocessing) == ("table", (7,), None)


def test_names_as_labels_become_sorted_classes(load):
    data = load(x=np.ones((3, 2)), y=np.array(["dog", "cat", "dog"]))
    assert data.class_names == ("cat", "dog")
    assert data.y.tolist() == [1, 0, 1]


def holed(value):
    x = np.zeros((6, 2))
    x[3, 1] = x[5, 0] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": PIXELS}, "no array 'y' .it has: x"),
        ({"y": LABELS}, "no array 'x' .it has: y"),
        ({"x": PIXELS, "y": LABELS[:5]}, "6 examples in x and 5 labels in y"),
        ({"x": PIXELS[:0], "y": LABELS[:0]}, "holds no examples"),
        ({"x": PIXELS, "y": np.array([{}] * 6)}, "never unpickled"),
        ({"x": np.array([None] * 6), "y": LABELS}, "never unpickled"),
        ({"x": PIXELS, "y": LABELS + 0.5}, r"holds 0\.5 at \[0\]: labels must be whole numbers"),
        ({"x": PIXELS, "y": LABELS - 1}, r"holds -1 at \[0\]: out of range"),
        ({"x": PIXELS, "y": np.eye(6)}, r"shape \(6, 6\); give one class index"),
        ({"x": PIXELS, "y": LABELS + 1}, "class 0 has no examples"),
        ({"x": PIXELS, "y": LABELS * 10**9}, "class 1 has no examples .labels run from 0 to 1000000000, 2 occur"),
        ({"x": PIXELS, "y": LABELS * 0}, "has 1 class; a classifier needs at least two"),
        ({"x": holed(np.nan), "y": LABELS}, r"2 NaN or infinite values, the first at \[3, 1\]"),
        ({"x": holed(np.inf), "y": LABELS}, r"2 NaN or infinite values, the first at \[3, 1\]"),
        ({"x": holed(1e300), "y": LABELS}, r"2 NaN or infinite values, the first at \[3, 1\]"),
        ({"x": np.array(["a"] * 6)[:, None], "y": LABELS}, "holds <U1 values; give numbers"),
        ({"x": PIXELS * 1.0, "y": LABELS}, r"holds floats from 0 to 255; scale pixels to \[0, 1\]"),
        ({"x": PIXELS.astype(int) * 2, "y": LABELS}, "pixels must be in 0 to 255"),
        ({"x": np.zeros((6, 5, 4, 2)), "y": LABELS}, "with 1 or 3 channels"),
        ({"x": np.zeros(6), "y": LABELS}, r"x has shape \(6,\)"),
        ({"x": np.float32(1), "y": LABELS}, "must be arrays"),
    ],
)
def test_what_is_wrong_with_an_npz_is_one_line_that_names_it(load, arrays, message):
    with pytest.raises(UserError, match=message) as caught:
        load(**arrays)
    assert "\n" not in str(caught.value)
    assert "set.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"\x80\x04K\x01.", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_npz_says_how_to_write_one(tmp_path, content):
    (tmp_path / "fake.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"fake\.npz is not an \.npz"):
        load_dataset(DataRecipe(source=str(tmp_path / "fake.npz")))


def test_a_truncated_npz_and_a_flipped_byte_are_found(tmp_path):
    path = tmp_path / "cut.npz"
    np.savez(path, x=PIXELS, y=LABELS)
    whole = path.read_bytes()
    position = whole.index(PIXELS.tobytes()) + 20
    for broken in (whole[: len(whole) // 2], whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"cut\.npz"):
            load_dataset(DataRecipe(source=str(path)))


def test_a_single_array_under_the_name_npz_is_told_apart(tmp_path):
    with (tmp_path / "one.npz").open("wb") as handle:
        np.save(handle, PIXELS)
    with pytest.raises(UserError, match="holds a single array"):
        load_dataset(DataRecipe(source=str(tmp_path / "one.npz")))
