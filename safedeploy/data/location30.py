"""Location-30: 5,010 users, 446 binary columns of places visited, 30 clusters as classes.

Made from Foursquare check-ins by Shokri et al. 2017 (arXiv 1610.05820); the file is privacytrustlab's
`dataset_location.tgz`, a tar of one CSV without header, `bangkok`: the label 1 to 30 in quotes, then the columns.
"""

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np

from safedeploy.data.dataset import Dataset
from safedeploy.errors import UserError
from safedeploy.results import Preprocessing

COLUMNS = 446
CLASSES = 30
PLACES = ("location30/dataset_location.tgz", "dataset_location.tgz", "location30/bangkok", "bangkok")


def find(root: Path) -> Path | None:
    """The file in `root`, packed or unpacked, or None."""
    return next((root / place for place in PLACES if (root / place).is_file()), None)


def load(root: Path) -> Dataset:
    path = find(root)
    if path is None:
        raise UserError(
            f"location30 is not in {root} (looked for {', '.join(PLACES)}); put dataset_location.tgz there"
            " (github.com/privacytrustlab/datasets) or name another folder with --data-root"
        )
    table = _parse(_content(path), path)
    return Dataset(
        name="location30",
        kind="table",
        x=np.ascontiguousarray(table[:, 1:], dtype=np.float32),
        y=table[:, 0].astype(np.int64) - 1,
        class_names=tuple(str(label) for label in range(1, CLASSES + 1)),
        preprocessing=Preprocessing(
            raw="float32 columns, 0 or 1", scale=1.0, mean=[0.0] * COLUMNS, std=[1.0] * COLUMNS
        ),
    )


def _content(path: Path) -> bytes:
    try:
        if path.suffix != ".tgz":
            return path.read_bytes()
        with tarfile.open(path, "r:gz") as archive:
            member = archive.extractfile("bangkok")
            return member.read() if member else b""
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{path} is damaged or not Location-30: {error}; fetch it again") from None


def _parse(content: bytes, path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    if not content.strip():
        raise UserError(f"{path} is not Location-30: its table is empty")
    try:
        table = np.loadtxt(io.BytesIO(content), dtype=np.int16, delimiter=",", quotechar='"', ndmin=2)
    except ValueError as error:
        raise UserError(f"{path} is not Location-30: {error}") from None
    if table.shape[1] != COLUMNS + 1:
        raise UserError(f"{path} is not Location-30: it has {table.shape[1]} columns instead of {COLUMNS + 1}")
    labels, values = table[:, 0], table[:, 1:]
    if labels.min() < 1 or labels.max() > CLASSES or values.min() < 0 or values.max() > 1:
        raise UserError(f"{path} is not Location-30: labels must be 1 to {CLASSES} and columns 0 or 1")
    return table
