"""A data set in a folder of images, one folder a class."""

import contextlib
import os
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.dataset import Dataset
from safedeploy.errors import UserError
from safedeploy.results import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_GREY = ("1", "L", "LA")
_TURNED = range(5, 9)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112
_PILLOW_RAISES = (OSError, ValueError, SyntaxError, EOFError, struct.error)

Progress = Callable[[float], None]


def load(root: Path, progress: Progress | None = None) -> Dataset:
    """Every image in `root`/CLASS/, resized to the most common size (the larger on a tie), grey where all are grey."""
    folders = _class_folders(root)
    files = [_images(folder) for folder in folders]
    paths = [path for group in files for path in group]
    headers = [_header(path) for path in paths]
    counts = Counter(size for size, _ in headers)
    width, height = max(counts, key=lambda size: (counts[size], size))
    channels = 1 if all(grey for _, grey in headers) else 3
    x = _room_for((len(paths), channels, height, width), root)
    for position, path in enumerate(paths):
        x[position] = _pixels(path, (width, height), channels)
        if progress:
            progress((position + 1) / len(paths))
    return Dataset(
        name=root.name,
        kind="image",
        x=x,
        y=np.repeat(np.arange(len(folders), dtype=np.int64), [len(group) for group in files]),
        class_names=tuple(folder.name for folder in folders),
        preprocessing=Preprocessing(
            raw="uint8 NCHW, 0 to 255", scale=1 / 255, mean=[0.5] * channels, std=[0.5] * channels
        ),
    )


def _class_folders(root: Path) -> list[Path]:
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read {root}: {error.strerror}") from None
    if not folders:
        raise UserError(f"{root} has no folders in it; give one folder of images a class")
    return folders


def _images(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    images = [path for path in entries if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if images:
        return images
    if any(path.is_dir() for path in entries):
        raise UserError(f"{folder} holds folders, not images; if they are the classes, give {folder} itself")
    raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)}); fill or remove this class")


def _header(path: Path) -> tuple[tuple[int, int], bool]:
    """Upright (width, height), and whether it is grey, without decoding the pixels."""
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{path} has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        return (image.size[::-1] if turned else image.size), image.mode in _GREY


def _pixels(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """(channels, height, width)."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    if upright.size != size:
        upright = upright.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(upright, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    """The image, for reading; what Pillow finds wrong, at once or while decoding, is a UserError naming the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except UnidentifiedImageError:
        raise UserError(f"cannot read the image {path}: it is no image; remove it") from None
    except (*_PILLOW_RAISES, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read the image {path}: {reason}; repair or remove it") from None


def _room_for(shape: tuple[int, int, int, int], root: Path) -> NDArray[np.uint8]:
    """An empty array; more than half of the machine's memory is refused before it is touched."""
    size = int(np.prod(shape, dtype=np.int64))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else size * 2
    if size > memory / 2:
        pixels = f"{shape[3]} × {shape[2]} pixels"
        raise UserError(f"{root}: {shape[0]:,} images of {pixels} take {size / 1e9:.0f} GB; scale them down first")
    return np.empty(shape, dtype=np.uint8)
