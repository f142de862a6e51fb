"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100, read by torchvision's own classes.

The published means and deviations are those of the training images in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.checks import labels_in_range
from safedeploy.data.dataset import Dataset
from safedeploy.data.download import NoDownload, download
from safedeploy.data.unpack import unpacked
from safedeploy.errors import UserError
from safedeploy.results import Preprocessing
from safedeploy.vision import torchvision

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Source:
    """`packed` maps each file as published to the files it unpacks to, both relative to the data root."""

    class_name: str
    packed: dict[str, tuple[str, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _idx(class_name: str) -> dict[str, tuple[str, ...]]:
    stems = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    return {f"{class_name}/raw/{stem}.gz": (f"{class_name}/raw/{stem}",) for stem in stems}


def _tar(packed: str, folder: str, *files: str) -> dict[str, tuple[str, ...]]:
    return {packed: tuple(f"{folder}/{file}" for file in files)}


_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")

SOURCES = {
    "mnist": Source("MNIST", _idx("MNIST"), (0.1307,), (0.3081,)),
    "fashion-mnist": Source("FashionMNIST", _idx("FashionMNIST"), (0.2860,), (0.3530,)),
    "cifar10": Source(
        "CIFAR10",
        _tar("cifar-10-python.tar.gz", "cifar-10-batches-py", *_CIFAR10_FILES),
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
    ),
    "cifar100": Source(
        "CIFAR100",
        _tar("cifar-100-python.tar.gz", "cifar-100-python", "train", "test", "meta"),
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
    ),
}


def load(name: str, root: Path, progress: Progress | None = None) -> Dataset:
    """The data set `name` of SOURCES: its training examples, then its test examples, marked as the official ones."""
    source = SOURCES[name]
    reader = getattr(torchvision("torchvision.datasets"), source.class_name)
    folder = _folder(name, reader, root, progress)
    try:
        parts = [reader(str(folder), train=train, download=False) for train in (True, False)]
    except (RuntimeError, ValueError, AssertionError, LookupError, OSError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"the files of {name} in {folder} are damaged ({reason}); delete and refetch them") from None
    x = np.concatenate([_channels_first(part.data) for part in parts])
    y = np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts])
    if len(x) != len(y):
        counts = f"{len(x):,} images, {len(y):,} labels"
        raise UserError(f"the files of {name} in {folder} are damaged ({counts}); delete and refetch them")
    class_names = tuple(str(label) for label in parts[0].classes)
    labels_in_range(y, len(class_names), f"the files of {name} in {folder}")
    return Dataset(
        name=name,
        kind="image",
        x=x,
        y=y,
        class_names=class_names,
        official_test=np.arange(len(y)) >= len(parts[0].data),
        preprocessing=Preprocessing(
            raw="uint8 NCHW, 0 to 255", scale=1 / 255, mean=list(source.mean), std=list(source.std)
        ),
    )


def found(name: str, root: Path) -> bool:
    """Whether the files of `name` are in `root`, packed or unpacked."""
    packed = SOURCES[name].packed
    return _has_unpacked(packed, root) or all((root / file).is_file() for file in packed)


def _has_unpacked(packed: dict[str, tuple[str, ...]], root: Path) -> bool:
    return all((root / file).is_file() for files in packed.values() for file in files)


def _folder(name: str, reader: Any, root: Path, progress: Progress | None) -> Path:
    """A folder torchvision's class can read, after downloading and unpacking what is missing."""
    packed = SOURCES[name].packed
    if _has_unpacked(packed, root):
        return root
    missing = [file for file in packed if not (root / file).is_file()]
    for number, file in enumerate(missing):
        addresses, md5 = _published(reader, Path(file).name)
        try:
            download(addresses, md5, root / file, _part(progress, number, len(missing)))
        except NoDownload as error:
            raise UserError(
                f"{name} is not in {root} (looked for {file}, packed or unpacked) and cannot be downloaded ({error});"
                " put the files there or name a writable folder with --data-root"
            ) from None
    return unpacked(root, list(packed))


def _published(reader: Any, file: str) -> tuple[list[str], str]:
    """Addresses and md5 of `file`, as torchvision's class lists them."""
    if hasattr(reader, "mirrors"):
        return [mirror + file for mirror in reader.mirrors], dict(reader.resources)[file]
    return [reader.url], reader.tgz_md5


def _part(progress: Progress | None, number: int, of: int) -> Progress | None:
    return (lambda share: progress((number + share) / of)) if progress else None


def _channels_first(images: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(images, dtype=np.uint8)
    return np.ascontiguousarray(pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2))
