"""A folder of images as a data set."""

import numpy as np
import pytest
from PIL import Image

from safedeploy.data.load import load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe

RNG = np.random.default_rng(0)


def save(path, size=(6, 4), mode="RGB", **options):
    """Random pixels of (width, height), returned as an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def load(root, progress=None):
    return load_dataset(DataRecipe(source=str(root)), progress)


def test_folders_are_classes_and_pixels_are_kept(tmp_path):
    cat, dog = save(tmp_path / "cat" / "1.png"), save(tmp_path / "dog" / "1.BMP")
    save(tmp_path / "dog" / "2.png")
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    seen = []
    data = load(tmp_path, seen.append)
    assert data.class_names == ("cat", "dog")
    assert data.y.tolist() == [0, 1, 1]
    assert np.array_equal(data.x[0], cat.transpose(2, 0, 1))
    assert np.array_equal(data.x[1], dog.transpose(2, 0, 1))
    assert seen == pytest.approx([1 / 3, 2 / 3, 1])


def test_all_formats_are_read(tmp_path):
    for suffix in (".png", ".jpg", ".jpeg", ".bmp", ".webp"):
        save(tmp_path / "a" / f"x{suffix}")
        save(tmp_path / "b" / f"x{suffix}")
    assert load(tmp_path).x.shape == (10, 3, 4, 6)


def test_images_are_resized_to_the_most_common_size(tmp_path):
    for number in range(3):
        save(tmp_path / "a" / f"{number}.png", (8, 5))
    save(tmp_path / "b" / "0.png", (40, 30))
    assert load(tmp_path).input_shape == (3, 5, 8)


def test_grey_stays_grey_only_where_all_are(tmp_path):
    grey = save(tmp_path / "a" / "0.png", mode="L")
    save(tmp_path / "b" / "0.png", mode="L")
    data = load(tmp_path)
    assert data.input_shape == (1, 4, 6)
    assert data.preprocessing.mean == [0.5]
    assert np.array_equal(data.x[0, 0], grey)
    save(tmp_path / "b" / "1.png")
    mixed = load(tmp_path)
    assert mixed.input_shape == (3, 4, 6)
    assert all(np.array_equal(channel, grey) for channel in mixed.x[0])


def test_a_photo_is_turned_upright_as_its_camera_says(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = save(tmp_path / "a" / "0.png", (6, 4), exif=turned)
    save(tmp_path / "b" / "0.png", (4, 6))
    data = load(tmp_path)
    assert data.input_shape == (3, 6, 4)
    assert np.array_equal(data.x[0], np.rot90(pixels, -1).transpose(2, 0, 1))


def one_line(root, message):
    with pytest.raises(UserError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_an_empty_class_are_named(tmp_path):
    one_line(tmp_path, "has no folders in it")
    save(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    one_line(tmp_path, r"b holds no images")


def test_a_single_class_is_not_enough(tmp_path):
    save(tmp_path / "a" / "0.png")
    one_line(tmp_path, "has 1 class")


def test_a_folder_of_splits_is_not_taken_for_classes(tmp_path):
    save(tmp_path / "train" / "a" / "0.png")
    save(tmp_path / "test" / "a" / "0.png")
    one_line(tmp_path, "test holds folders, not images")


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_a_corrupt_image_is_named(tmp_path, damage):
    save(tmp_path / "a" / "0.png")
    save(tmp_path / "b" / "bad.png", (60, 40))
    path = tmp_path / "b" / "bad.png"
    path.write_bytes({"text": b"hello", "truncated": path.read_bytes()[:2000], "empty": b""}[damage])
    one_line(tmp_path, r"cannot read the image .*bad\.png")


def test_sixteen_bit_images_are_refused_rather_than_clipped(tmp_path):
    save(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((4, 6), 40000, np.uint16)).save(tmp_path / "b" / "deep.png")
    one_line(tmp_path, r"deep\.png has more than 8 bits")
