"""Texts and their classes: one or several columns of a CSV or Parquet table, or a published set of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.dataset import Dataset
from safedeploy.data.table import classes_of, read_table, require_column
from safedeploy.errors import UserError

LENGTH = 64  # tokens of a text that a model sees where nothing is said


@dataclass(frozen=True)
class Source:
    """A set published as train.csv and test.csv (Zhang et al. 2015): no header, the class counted from 1, then texts.

    folder: of the data root. hub: its name for the `datasets` library.
    """

    folder: str
    hub: str
    class_names: tuple[str, ...]


SOURCES = {
    "ag-news": Source("ag_news", "fancyzhx/ag_news", ("World", "Sports", "Business", "Sci/Tech")),
    "yelp-5": Source("yelp_review_full_csv", "Yelp/yelp_review_full", tuple(f"{stars} stars" for stars in range(1, 6))),
}


def load(path: Path, text: str, label: str | None, length: int | None) -> Dataset:
    """The table in `path`: its texts in the columns `text`, with commas between several, its classes in `label`."""
    frame = read_table(path)
    names = [name.strip() for name in text.split(",")]
    require_column(path, frame, label or "label", None if label else "; name the label's with --label")
    for name in names:
        require_column(path, frame, name)
        if name == (label or "label"):
            raise UserError(f"{path}: the text column '{name}' is the label: name another column")
    y, class_names = classes_of(frame[label or "label"], path)
    parts = [_texts(frame[name], path) for name in names]
    x = np.array([" ".join(row) for row in zip(*parts, strict=True)], dtype=object)
    return Dataset(path.stem, "text", _telling(x, f"{path}: {text}"), y, class_names, length=length or LENGTH)


def load_published(name: str, root: Path, length: int | None) -> Dataset:
    """A set of SOURCES: train.csv and test.csv of its folder, one of them alone, or from the hub by `datasets`."""
    source = SOURCES[name]
    folder = root / source.folder
    files = [folder / part for part in ("train.csv", "test.csv") if (folder / part).is_file()]
    parts = [_published(file, source) for file in files] or [
        _from_hub(name, part, folder) for part in ("train", "test")
    ]
    x, y = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    test = np.arange(len(y)) >= len(parts[0][1]) if len(parts) > 1 else None
    return Dataset(name, "text", _telling(x, name), y, source.class_names, official_test=test, length=length or LENGTH)


def found(name: str, root: Path) -> bool:
    return (root / SOURCES[name].folder / "test.csv").is_file()


def _published(path: Path, source: Source) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    import csv

    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.reader(handle))
        y = np.array([int(row[0]) - 1 for row in rows], dtype=np.int64)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from None
    if not rows or y.min() < 0 or y.max() >= len(source.class_names):
        raise UserError(f"{path} does not hold classes 1 to {len(source.class_names)}; fetch it again")
    # a backslash stands for a line's end
    return np.array([" ".join(row[1:]).replace("\\n", " ").replace("\\", " ") for row in rows], dtype=object), y


def _from_hub(name: str, part: str, folder: Path) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    advice = f"put its train.csv and test.csv into {folder}, or name another folder's root with --data-root"
    try:
        load_dataset = import_module("datasets").load_dataset
    except ImportError:
        raise UserError(f"{name} is not in {folder}, and the 'datasets' library is not installed: {advice}") from None
    try:
        loaded: Any = load_dataset(SOURCES[name].hub, split=part)
    except Exception as error:  # the library's errors have no common base
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{name} is not in {folder} and cannot be fetched ({lines[0][:160]}): {advice}") from None
    return np.array(list(loaded["text"]), dtype=object), np.array(loaded["label"], dtype=np.int64)


def _texts(column: Any, path: Path) -> Sequence[str]:
    from pandas.api import types

    if not (types.is_object_dtype(column) or types.is_string_dtype(column)):
        raise UserError(
            f"{path}: column '{column.name}' is of type {column.dtype}, no text; --text takes a text's column"
        )
    return [str(text) for text in column.where(column.notna(), "")]


def _telling(x: NDArray[np.object_], source: str) -> NDArray[np.object_]:
    """`x`, of which none is empty and not all are the same."""
    empty = np.array([not text.strip() for text in x], dtype=bool)
    if empty.any():
        where = f"the first at row {int(empty.argmax()) + 1:,}"
        raise UserError(f"{source}: {int(empty.sum()):,} of {len(x):,} texts are empty, {where}; drop these rows")
    if len(set(x.tolist())) < 2:
        raise UserError(f"{source}: all {len(x):,} texts are the same: nothing to learn from")
    return x
