"""A sensitive column: kept beside every example and out of the model's inputs, for attribute inference to look for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.split import Indices
from safedeploy.errors import UserError

MOST_VALUES = 20  # more are no category: there is no telling them apart on the samples that an attacker has


@dataclass(frozen=True, eq=False)
class SensitiveColumn:
    """What `column` holds. values: (n,) positions in `names`, of an example each."""

    column: str
    values: Indices
    names: tuple[str, ...]


def sensitive_column(held: NDArray[Any], column: str, source: str) -> SensitiveColumn:
    """The categories (n,) of numbers, truth values or strings. `source`: the file that an error names.

    Raises UserError for missing values (NaN, empty strings), one value alone, or more than MOST_VALUES.
    """
    who = f"{source}: the sensitive column '{column}'"
    if held.ndim != 1 or held.dtype.kind not in "biufU":
        raise UserError(f"{who} is {held.dtype} of shape {held.shape}; give one number or name an example, shape (n,)")
    empty = np.isnan(held) if held.dtype.kind == "f" else held == "" if held.dtype.kind == "U" else np.zeros(0, bool)
    if missing := int(empty.sum()):
        raise UserError(f"{who} is empty in {missing:,} rows; drop them, or give them a value of their own")
    distinct, values = np.unique(held, return_inverse=True)
    if distinct.size < 2:
        raise UserError(f"{who} holds {_names(distinct)[0]} alone: nothing to infer; name another column")
    if distinct.size > MOST_VALUES:
        many = f"{who} holds {distinct.size:,} different values, more than {MOST_VALUES}"
        if held.dtype.kind == "U":
            raise UserError(f"{many}: merge the rare ones into one")
        raise UserError(f"{many}: bin it first, as pandas.qcut(column, 4) does")
    return SensitiveColumn(column, values.astype(np.int64), _names(distinct))


def _names(distinct: NDArray[Any]) -> tuple[str, ...]:
    return tuple(f"{value:g}" if distinct.dtype.kind == "f" else str(value) for value in distinct)
