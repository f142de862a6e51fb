"""Location-30: the published file, packed or unpacked, and files that are not it."""

import io
import tarfile

import numpy as np
import pytest

from safedeploy.data.load import load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe


def rows(count=60, columns=446):
    values = np.random.default_rng(0).integers(0, 2, (count, columns))
    labels = np.arange(count) % 30 + 1
    lines = [",".join([f'"{label}"', *map(str, row)]) for label, row in zip(labels, values, strict=True)]
    return values, labels, ("\n".join(lines) + "\n").encode()


def packed(path, content, name="bangkok"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def load(root):
    return load_dataset(DataRecipe(source="location30", root=str(root)))


@pytest.mark.parametrize("folder", ["location30", "."])
@pytest.mark.parametrize("name", ["dataset_location.tgz", "bangkok"])
def test_the_file_is_found_packed_or_unpacked_and_only_read(tmp_path, tree, folder, name):
    values, labels, content = rows()
    path = tmp_path / "root" / folder / name
    packed(path, content)
    if path.name == "bangkok":
        path.write_bytes(content)
    before = tree(tmp_path / "root")
    data = load(tmp_path / "root")
    assert np.array_equal(data.x, values)
    assert np.array_equal(data.y, labels - 1)
    assert (data.class_names[0], data.class_names[-1]) == ("1", "30")
    assert tree(tmp_path / "root") == before


def test_a_missing_file_says_where_it_was_looked_for_and_where_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"location30/dataset_location\.tgz.* --data-root") as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["columns", "value", "label", "text", "empty", "ragged"])
def test_another_file_under_that_name_is_refused(tmp_path, wrong):
    content = rows()[2]
    broken = {
        "columns": rows(columns=445)[2],
        "value": content.replace(b",1,", b",7,", 1),
        "label": content.replace(b'"30"', b'"31"'),
        "text": b"hello\n",
        "empty": b"",
        "ragged": content + b'"1",0,1\n',
    }
    packed(tmp_path / "dataset_location.tgz", broken[wrong])
    with pytest.raises(UserError, match="is not Location-30") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_and_one_without_the_table_are_named(tmp_path):
    path = tmp_path / "dataset_location.tgz"
    packed(path, rows()[2])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"dataset_location\.tgz is damaged"):
        load(tmp_path)
    packed(path, rows()[2], name="paris")
    with pytest.raises(UserError, match="damaged or not Location-30"):
        load(tmp_path)


@pytest.mark.real
def test_the_real_table_is_5010_users_446_places_30_classes(real_root, tree):
    before = tree(real_root)
    data = load(real_root)
    assert data.x.shape == (5010, 446)
    assert len(data.class_names) == 30
    with tarfile.open(real_root / "location30" / "dataset_location.tgz") as archive:
        lines = archive.extractfile("bangkok").read().decode().splitlines()
    for position in (0, 1, 2500, 5009):
        label, *values = lines[position].split(",")
        assert data.y[position] == int(label.strip('"')) - 1
        assert data.x[position].tolist() == [float(value) for value in values]
    assert tree(real_root) == before
