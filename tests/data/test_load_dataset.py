"""Data sets by name: the embedded one, unknown names, and what is found where."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safedeploy.data.dataset import preprocess
from safedeploy.data.load import dataset_names, list_datasets, load_dataset
from safedeploy.data.root import data_root
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    data = load_dataset(DataRecipe(source="digits"))
    assert data.x.shape == (1797, 1, 8, 8)
    assert data.x.dtype == np.uint8
    assert np.array_equal(data.x[:, 0], load_digits().images)
    assert np.array_equal(data.y, load_digits().target)
    z = preprocess(data.x, data.preprocessing)
    assert (z.min(), z.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fashion_mnist", "did you mean 'fashion-mnist'"),
        ("zzz", "unknown data set 'zzz'"),
        ("data/nowhere.npz", "no such file or folder: data/nowhere.npz"),
        ("nowhere.csv", "no such file or folder: nowhere.csv"),
    ],
)
def test_an_unknown_name_or_path_is_one_line_with_a_way_out(source, message):
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(DataRecipe(source=source))
    assert "\n" not in str(caught.value)
    assert "folder of images a class" in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match=r"a\.pkl is not a data set"):
        load_dataset(DataRecipe(source=str(tmp_path / "a.pkl")))


def test_the_data_root_is_the_recipes_then_the_environments_then_the_cache(monkeypatch, cache):
    assert data_root() == cache
    monkeypatch.setenv("SAFEDEPLOY_DATA", "/somewhere")
    assert data_root() == Path("/somewhere")
    assert data_root("~/data") == Path.home() / "data"
    monkeypatch.delenv("SAFEDEPLOY_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root() == Path.home() / ".cache" / "safedeploy"


def test_the_list_says_for_every_builtin_whether_it_is_there(tmp_path):
    listed = {entry.name: entry for entry in list_datasets(tmp_path / "nowhere")}
    assert tuple(listed) == dataset_names()
    assert [name for name, entry in listed.items() if entry.found] == ["digits"]
    (tmp_path / "cifar-10-python.tar.gz").touch()
    (tmp_path / "bangkok").touch()
    assert [entry.name for entry in list_datasets(tmp_path) if entry.found] == ["digits", "cifar10", "location30"]


def test_digits_and_the_list_need_no_torch_and_no_pandas(tmp_path):
    """A reviewer's install has neither."""
    code = """
import sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "pandas"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from safedeploy.data.load import list_datasets, load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe
load_dataset(DataRecipe(source="digits"))
list_datasets(Path("nowhere"))
Path(sys.argv[1]).write_text("a,label\\n1,2\\n")
for source in ("mnist", sys.argv[1]):
    try:
        load_dataset(DataRecipe(source=source))
    except UserError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "t.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["'safedeploy[train]'"] * 2


@pytest.mark.real
def test_the_list_finds_the_real_files(real_root):
    found = {entry.name for entry in list_datasets(real_root) if entry.found}
    assert {"digits", "fashion-mnist", "location30"} <= found
