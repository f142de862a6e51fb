"""MNIST's and CIFAR's families through torchvision's own classes, from files packed, unpacked, damaged or missing."""

import gzip
import hashlib
import io
import pickle
import tarfile
import time

import numpy as np
import pytest

from safedeploy.data.load import load_dataset
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe
from safedeploy.vision import torchvision

RNG = np.random.default_rng(0)


def load(name, root, progress=None):
    return load_dataset(DataRecipe(source=name, root=str(root)), progress)


def idx(array):
    """The idx format of LeCun's MNIST page: magic 0, 0, 8 (unsigned byte), axes, then big-endian sizes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def fashion(tmp_path):
    """A tiny Fashion-MNIST, recompressed, in a folder without write permission."""
    root = tmp_path / "root"
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    x = RNG.integers(0, 256, (30, 28, 28))
    y = np.arange(30) % 10
    for prefix, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x[part])))
        (raw / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y[part])))
    for folder in (raw, raw.parent, root):
        folder.chmod(0o555)
    yield root, x, y
    for folder in (root, raw.parent, raw):
        folder.chmod(0o755)


def test_recompressed_files_in_a_read_only_folder_are_read_and_left_alone(fashion, tree):
    root, x, y = fashion
    before = tree(root)
    data = load("fashion-mnist", root)
    assert np.array_equal(data.x[:, 0], x)
    assert np.array_equal(data.y, y)
    assert data.official_test.tolist() == [False] * 20 + [True] * 10
    assert data.class_names[9] == "Ankle boot"
    assert tree(root) == before


def test_files_are_unpacked_once_and_again_only_when_they_change(fashion, cache):
    root, x, _ = fashion
    load("fashion-mnist", root)
    (folder,) = (cache / "unpacked").iterdir()
    written = folder.stat().st_mtime_ns
    load("fashion-mnist", root)
    assert folder.stat().st_mtime_ns == written
    (root / "FashionMNIST/raw/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(255 - x[:20])))
    assert np.array_equal(load("fashion-mnist", root).x[:20, 0], 255 - x[:20])
    assert len(list((cache / "unpacked").iterdir())) == 2


def test_unpacked_files_are_read_where_they_lie(fashion, tmp_path, cache):
    root, x, _ = fashion
    raw = tmp_path / "unpacked" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (root / "FashionMNIST" / "raw").iterdir():
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert np.array_equal(load("fashion-mnist", tmp_path / "unpacked").x[:, 0], x)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "short", "label", "empty"])
def test_damaged_files_are_named_and_nothing_half_unpacked_is_left(fashion, cache, damage):
    root, x, y = fashion
    name = "train-labels-idx1-ubyte.gz" if damage == "label" else "train-images-idx3-ubyte.gz"
    path = root / "FashionMNIST" / "raw" / name
    path.write_bytes(
        {
            "truncated": path.read_bytes()[:-100],
            "not gzip": b"hello",
            "short": gzip.compress(idx(x[:20])[:-5]),
            "label": gzip.compress(idx(y[:20] + 5)),
            "empty": gzip.compress(b""),
        }[damage]
    )
    with pytest.raises(UserError, match="damaged" if damage != "label" else "out of range 0 to 9") as caught:
        load("fashion-mnist", root)
    assert "\n" not in str(caught.value)
    assert not list((cache / "unpacked").glob(".*"))


def test_without_files_and_network_one_line_says_what_to_do_and_nothing_is_made(tmp_path, monkeypatch):
    reader = torchvision("torchvision.datasets").MNIST
    monkeypatch.setattr(reader, "mirrors", ["http://127.0.0.1:1/"])
    start = time.monotonic()
    with pytest.raises(UserError, match=r"mnist is not in .*MNIST/raw/train-images.*--data-root") as caught:
        load("mnist", tmp_path / "root")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5
    assert not (tmp_path / "root").exists()


def cifar_archive(x, y):
    """A CIFAR-10 archive: five batches of pickled rows, a test batch, the names; and the md5 of each file."""
    files = {}
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = slice(2 * number, 2 * number + 2)
        files[name] = pickle.dumps({"data": x[part].reshape(2, -1), "labels": y[part].tolist()})
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {n}" for n in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue(), {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


def test_cifar_is_unpacked_from_its_archive(tmp_path, monkeypatch, tree):
    x, y = RNG.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), np.arange(12) % 10
    content, md5 = cifar_archive(x, y)
    reader = torchvision("torchvision.datasets").CIFAR10
    monkeypatch.setattr(reader, "train_list", [[f"data_batch_{n}", md5[f"data_batch_{n}"]] for n in range(1, 6)])
    monkeypatch.setattr(reader, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5["batches.meta"]})
    root = tmp_path / "root"
    root.mkdir()
    (root / "cifar-10-python.tar.gz").write_bytes(content)
    data = load("cifar10", root)
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)
    assert data.official_test.sum() == 2
    assert list(tree(root)) == ["cifar-10-python.tar.gz"]


def test_a_cifar_archive_with_other_content_is_never_unpickled(tmp_path):
    content, _ = cifar_archive(np.zeros((12, 3, 32, 32), np.uint8), np.arange(12) % 10)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"cifar10 .* damaged .*corrupted"):
        load("cifar10", tmp_path)


@pytest.mark.real
def test_fashion_mnist_is_pixel_for_pixel_what_the_files_hold(real_root, tree):
    before = tree(real_root)
    data = load("fashion-mnist", real_root)
    raw = real_root / "FashionMNIST" / "raw"
    parts = []
    for prefix in ("train", "t10k"):
        images, labels = (
            gzip.decompress((raw / f"{prefix}-{kind}-ubyte.gz").read_bytes()) for kind in ("images-idx3", "labels-idx1")
        )
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        parts.append((pixels, np.frombuffer(labels, np.uint8, offset=8)))
    assert np.array_equal(data.x, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(data.y, np.concatenate([part[1] for part in parts]))
    assert (~data.official_test).sum() == 60000
    training = data.x[~data.official_test] / np.float32(255)
    assert data.preprocessing.mean == pytest.approx([float(training.mean(dtype=np.float64))], abs=1e-4)
    assert data.preprocessing.std == pytest.approx([float(training.std(dtype=np.float64))], abs=1e-4)
    assert tree(real_root) == before
