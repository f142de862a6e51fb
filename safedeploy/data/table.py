"""A data set in a CSV or Parquet table: numeric columns as they are, categorical ones one-hot, one column the label."""

import warnings
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.checks import finite_float32
from safedeploy.data.dataset import Dataset
from safedeploy.data.sensitive import SensitiveColumn, sensitive_column
from safedeploy.data.split import Indices
from safedeploy.errors import UserError, missing_extra

SUFFIXES = (".csv", ".parquet")
MOST_CATEGORIES = 1000


def load(path: Path, label: str | None, sensitive: str | None = None) -> Dataset:
    """The table in `path`, its classes in column `label` (default 'label'), sorted; column order is kept.

    sensitive: a column that is kept beside the examples and out of their inputs.
    """
    frame = read_table(path)
    require_column(path, frame, label or "label", None if label else "; name the label's with --label")
    label = label or "label"
    if sensitive is not None:
        require_column(path, frame, sensitive)
        if sensitive == label:
            raise UserError(f"{path}: the sensitive column '{sensitive}' is the label: name another column")
    y, class_names = classes_of(frame.pop(label), path)
    hidden = None if sensitive is None else _sensitive(frame.pop(sensitive), path)
    if frame.shape[1] == 0 or frame.shape[0] == 0:
        rows, columns = frame.shape
        beside = f"'{label}'" if sensitive is None else f"'{label}' and '{sensitive}'"
        raise UserError(f"{path} holds {rows} rows and {columns} columns beside {beside}: nothing to learn from")
    parts = [_column(frame[name], path) for name in frame.columns]
    names = tuple(name for _, held in parts for name in held)
    x = np.concatenate([x for x, _ in parts], axis=1)
    return Dataset(path.stem, "table", x, y, class_names, columns=names, sensitive=hidden)


def require_column(path: Path, frame: Any, name: str, hint: str | None = None) -> None:
    """Raises UserError where there is no column `name`; `hint`: what to do, where there is no nearest name to offer."""
    columns = [str(column) for column in frame.columns]
    if name in columns:
        return
    near = get_close_matches(name, columns, n=1, cutoff=0.5) if hint is None else []
    hint = f"; did you mean '{near[0]}'?" if near else hint or "; name one of the table's"
    listed = ", ".join(columns[:12]) + (", …" if len(columns) > 12 else "")
    raise UserError(f"{path} has no column '{name}'{hint} (columns: {listed})")


def read_table(path: Path) -> Any:
    """The data frame in a .csv or .parquet. Raises UserError where it cannot be read or names a column twice."""
    try:
        import pandas as pd
    except ImportError:
        raise missing_extra("reading a table", "train") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except ImportError:
        raise missing_extra("reading Parquet", "train") from None
    except (OSError, ValueError) as error:
        kind = path.suffix[1:].upper()
        raise UserError(f"cannot read {path} as {kind}: {str(error).splitlines()[0]}") from None
    frame.columns = [str(name) for name in frame.columns]
    if not frame.columns.is_unique:
        raise UserError(f"{path} has the column '{frame.columns[frame.columns.duplicated()][0]}' twice; rename one")
    return frame


def _sensitive(column: Any, path: Path) -> SensitiveColumn:
    missing = int(column.isna().sum())
    if missing:
        raise UserError(
            f"{path}: the sensitive column '{column.name}' is empty in {missing:,} rows; drop them,"
            " or give them a value of their own"
        )
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        values = column.astype(str).to_numpy(dtype=str)
    return sensitive_column(values, str(column.name), str(path))


def classes_of(column: Any, path: Path) -> tuple[Indices, tuple[str, ...]]:
    """Class indices (n,) of a label column, and the names of the classes, sorted."""
    missing = int(column.isna().sum())
    if missing:
        raise UserError(f"{path}: the label column '{column.name}' is empty in {missing:,} rows; drop them")
    values = column.to_numpy()
    if values.dtype.kind == "f":
        fractions = values[values != np.floor(values)]
        if fractions.size:
            raise UserError(f"{path}: the label column '{column.name}' holds {fractions[0]}: that is no class")
        values = values.astype(np.int64)
    elif values.dtype.kind not in "biu":
        values = column.astype(str).to_numpy(dtype=str)
    names, y = np.unique(values, return_inverse=True)
    return y.astype(np.int64), tuple(str(name) for name in names)


def _column(column: Any, path: Path) -> tuple[NDArray[np.float32], list[str]]:
    """One column as (n, 1) numbers or (n, categories) zeros and ones, and the names of these."""
    from pandas.api import types

    source = f"{path}: column '{column.name}'"
    if types.is_bool_dtype(column) or types.is_numeric_dtype(column):
        missing = int(column.isna().sum())
        if missing:
            raise UserError(f"{source} has {missing:,} missing values; fill them or drop the rows")
        return finite_float32(column.to_numpy(), source)[:, None], [str(column.name)]
    categorical = isinstance(column.dtype, types.CategoricalDtype)
    if not (categorical or types.is_object_dtype(column) or types.is_string_dtype(column)):
        raise UserError(f"{source} is of type {column.dtype}; make it a number or a category, or drop it")
    values = column.astype(object).where(column.notna(), "missing").astype(str).to_numpy(dtype=str)
    categories, position = np.unique(values, return_inverse=True)
    if categories.size > MOST_CATEGORIES:
        raise UserError(f"{source} has {categories.size:,} different values: no category; drop it or make it a number")
    return np.eye(categories.size, dtype=np.float32)[position], [f"{column.name}={value}" for value in categories]
