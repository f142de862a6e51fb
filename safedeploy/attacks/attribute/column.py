"""The sensitive column of a table: which of the input's columns hold it, and the values an attacker tries for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array
from safedeploy.attacks.base import Floats, Knowledge
from safedeploy.errors import UserError, unknown

Values = NDArray[np.int64]
MIN_KNOWN = 5  # known members, and known non-members, that hold a value: with fewer there is nothing to learn it from


@dataclass(frozen=True, eq=False)
class Sensitive:
    """`columns`: the input's columns that hold it, one, or a one-hot group. `names`: of its V values.

    candidates: (V, columns) float32, what is put into the input for each value.
    edges: (V − 1,) where a number was cut into bins, ascending; None where the candidates are all there is.
    """

    columns: tuple[int, ...]
    candidates: Array
    names: tuple[str, ...]
    edges: Floats | None = None

    def read(self, x: Array) -> Values:
        """(n,) the value each sample holds, −1 where it is none of the candidates."""
        held = x[:, list(self.columns)]
        if self.edges is not None:
            return np.searchsorted(self.edges, held[:, 0], side="right").astype(np.int64)
        found = np.full(len(x), -1, dtype=np.int64)
        for value, candidate in enumerate(self.candidates):
            found[(held == candidate).all(axis=1)] = value
        return found

    def hide(self, x: Array) -> Array:
        """(n, other columns): what the attacker knows of the samples beside their label."""
        return np.delete(x, list(self.columns), axis=1)

    def put(self, x: Array, value: int) -> Array:
        """A copy of `x` with `value` in its place."""
        asked = x.copy()
        asked[:, list(self.columns)] = self.candidates[value]
        return asked


def sensitive_column(knowledge: Knowledge, columns: Sequence[int], most: int = 8) -> Sensitive:
    """The values of `columns` among the known samples; one numeric column of more than `most` is cut at its quantiles.

    A bin is tried with its median. Values that fewer than MIN_KNOWN known members or non-members hold are no
    candidates. Raises UserError for columns that are no column of a table, or hold fewer than two such values.
    """
    sides = knowledge.members.x, knowledge.nonmembers.x
    _check(columns, sides[0].shape[1:])
    held = [np.ascontiguousarray(side[:, list(columns)]) for side in sides]
    distinct = np.unique(np.concatenate(held), axis=0)
    if len(columns) == 1 and len(distinct) > most:
        found = _binned(columns[0], [side[:, 0].astype(np.float64) for side in held], most)
    else:
        common = [row for row in distinct if _least((side == row).all(axis=1) for side in held) >= MIN_KNOWN]
        found = Sensitive(tuple(columns), np.array(common), tuple(_name(row) for row in common))
    if len(found.names) < 2:
        what = f"column {_words(columns)} has {len(found.names)} values that {MIN_KNOWN} known members and as many"
        raise UserError(f"{what} known non-members hold: nothing to infer; name another column")
    if len(found.names) > most:
        what = f"columns {_words(columns)} hold {len(found.names)} combinations, more than {most}"
        raise UserError(f"{what}: no category; name one column, or the columns of one one-hot group")
    return found


def parse_columns(text: str, shape: tuple[int, ...], names: Sequence[str] | None = None) -> tuple[int, ...]:
    """Columns as a person types them: '12', '3,7', '4-9', or a name out of `names` (n,).

    Columns of a one-hot group are called GROUP=VALUE, and GROUP alone names all of them.
    shape: of one input, (columns,) for a table. Raises UserError for what is no column of it.
    """
    _table(shape)
    if names is not None and not text.replace("-", "").replace(",", "").isdigit():
        found = tuple(at for at, name in enumerate(names) if text in (name, name.partition("=")[0]))
        if not found:
            raise unknown("column", text, set(names) | {name.partition("=")[0] for name in names})
        return found
    columns: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UserError(f"--sensitive {text}: write a column's number from 0, as in 12, 3,7 or 4-9")
        if dash and int(last) < int(first):
            raise UserError(f"--sensitive {text}: {part.strip()} ends before it begins; write {last}-{first}")
        columns.extend(range(int(first), int(last if dash else first) + 1))
    _check(columns, shape)
    return tuple(columns)


def _table(shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise UserError(f"a sensitive column needs a table; this model takes inputs of shape {shape}")


def _check(columns: Sequence[int], shape: tuple[int, ...]) -> None:
    _table(shape)
    if not columns or len(set(columns)) != len(columns):
        raise UserError(f"sensitive columns {_words(columns) or '(none)'}: name each column once")
    outside = [column for column in columns if not 0 <= column < shape[0]]
    if outside:
        raise UserError(f"no column {outside[0]}: the model's input has columns 0 to {shape[0] - 1}")
    if len(columns) == shape[0]:
        raise UserError("the sensitive columns are all there are: leave the attacker some to know")


def _binned(column: int, held: Sequence[Floats], most: int) -> Sensitive:
    """As many bins up to `most` as leave MIN_KNOWN of either side in each; one bin where two cannot."""
    both = np.concatenate(held)
    for bins in range(most, 0, -1):
        # edges that are samples' own values leave no bin empty
        edges = np.unique(np.quantile(both, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
        edges = edges[edges > both.min()]
        places = [np.searchsorted(edges, side, side="right") for side in held]
        if min(_least(place == number for place in places) for number in range(edges.size + 1)) >= MIN_KNOWN:
            break
    place = np.concatenate(places)
    medians = [[float(np.median(both[place == number]))] for number in range(edges.size + 1)]
    ends = [f"{edge:.4g}" for edge in edges]
    middle = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = (f"below {ends[0]}", *middle, f"{ends[-1]} and above") if ends else ("all",)
    return Sensitive((column,), np.array(medians, dtype=np.float32), names, edges)


def _least(masks: Iterable[NDArray[np.bool_]]) -> int:
    return min(int(mask.sum()) for mask in masks)


def _name(row: Array) -> str:
    return ",".join(f"{value:.4g}" for value in row)


def _words(columns: Sequence[int]) -> str:
    return ", ".join(str(column) for column in columns)
