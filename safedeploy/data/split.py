"""Every example of a data set gets exactly one role, drawn by seed (DESIGN: Split)."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.arrays import read_arrays
from safedeploy.errors import UserError
from safedeploy.recipe import SplitRecipe
from safedeploy.rundir import write_bytes
from safedeploy.seeds import numpy_generator

Role = Literal["member_known", "member_eval", "nonmember_known", "nonmember_eval", "validation", "test", "population"]
ROLES: tuple[Role, ...] = get_args(Role)
MEMBERS: tuple[Role, ...] = ("member_known", "member_eval")

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """`role[i]` is the position in ROLES of example i's role; `fingerprint` is the data set's."""

    role: NDArray[np.int8]
    fingerprint: str

    def indices(self, *roles: Role) -> Indices:
        """Ascending indices of the examples that have one of `roles`."""
        return np.flatnonzero(np.isin(self.role, [ROLES.index(role) for role in roles]))

    def write(self, path: Path) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, role=self.role, roles=np.array(ROLES), fingerprint=np.array(self.fingerprint))
        write_bytes(path, buffer.getvalue())


def read_split(path: Path) -> Split:
    role, roles, fingerprint = read_arrays(path, "role", "roles", "fingerprint")
    if tuple(roles.tolist()) != ROLES:
        raise UserError(f"{path} was written by another version: its roles differ; train again")
    if role.ndim != 1 or role.dtype != np.int8 or not np.isin(role, range(len(ROLES))).all():
        raise UserError(f"{path} is damaged: 'role' must hold one of {len(ROLES)} roles an example; train again")
    return Split(role, str(fingerprint))


def draw_split(
    labels: Indices,
    official_test: NDArray[np.bool_] | None,
    shares: SplitRecipe,
    seed: int,
    fingerprint: str,
    class_names: Sequence[str] | None = None,
) -> Split:
    """Draw roles class by class, so that every role has the class balance of the whole.

    labels: (n,) class indices. official_test: (n,) examples that are `test` and nothing else; None draws `test` too.
    class_names: what an error calls the classes.
    Raises UserError where a class is too small to appear in every role.
    """
    role = np.full(labels.size, ROLES.index("population"), dtype=np.int8)
    pool = np.ones(labels.size, dtype=bool)
    wanted: list[tuple[Role, float]] = [
        ("member_known", shares.known),
        ("nonmember_known", shares.known),
        ("member_eval", shares.evaluation),
        ("nonmember_eval", shares.evaluation),
        ("validation", shares.validation),
    ]
    if official_test is None:
        wanted.append(("test", shares.test))
    else:
        role[official_test] = ROLES.index("test")
        pool &= ~official_test
    for label in np.unique(labels):
        mine = np.flatnonzero(pool & (labels == label))
        order = numpy_generator(seed, "split", int(label)).permutation(mine)
        counts = [int(share * mine.size + 1e-9) for _, share in wanted]
        if min(counts) < 1:
            name_of = f"'{class_names[label]}'" if class_names else str(int(label))
            needed = math.ceil(1 / min(share for _, share in wanted) - 1e-9)
            raise UserError(
                f"class {name_of} has {mine.size} examples to draw from: too few for every role of the split,"
                f" which takes {needed}; merge or drop the class, or enlarge the smallest share"
            )
        start = 0
        for (name, _), count in zip(wanted, counts, strict=True):
            role[order[start : start + count]] = ROLES.index(name)
            start += count
    return Split(role, fingerprint)
