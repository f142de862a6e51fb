"""The halves of a pool that reference models train on: drawn by seed, class by class, from the pool alone."""

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.split import ROLES, Indices, Role, Split
from safedeploy.seeds import numpy_generator

POOL: tuple[Role, ...] = ("member_known", "member_eval", "nonmember_known", "nonmember_eval")

Bools = NDArray[np.bool_]


def half(labels: Indices, number: int, seed: int) -> Bools:
    """(n,) which of the pool's samples, with labels (n,), reference model `number` trains on.

    Half of every class; models 2j and 2j + 1 hold complementary halves, whose sizes differ by at most one. Nothing but
    the pool and the seed decides: halves that knew the audited model's members would tell on it.
    """
    pair, other = divmod(number, 2)
    first = np.zeros(labels.size, dtype=bool)
    extra = int(numpy_generator(seed, "reference halves", pair).integers(2))  # who gets an odd class's last sample
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        order = numpy_generator(seed, "reference halves", pair, int(label)).permutation(mine)
        size = mine.size // 2
        if mine.size % 2:
            size, extra = size + extra, 1 - extra
        first[order[:size]] = True
    return first if other == 0 else ~first


def half_split(split: Split, labels: Indices, inside: Bools, seed: int) -> Split:
    """`split` with new roles in its pool: members where `inside` (pool size,), ascending as `split.indices(*POOL)`.

    labels: (n,) of the whole data set. In each class the known and the evaluation role of a side keep their shares.
    """
    pool = split.indices(*POOL)
    known = split.indices("member_known", "nonmember_known").size / pool.size
    role = split.role.copy()
    sides: tuple[tuple[Bools, Role, Role], ...] = (
        (inside, "member_known", "member_eval"),
        (~inside, "nonmember_known", "nonmember_eval"),
    )
    for chosen, first, second in sides:
        for label in np.unique(labels[pool]):
            mine = pool[chosen & (labels[pool] == label)]
            order = numpy_generator(seed, "reference roles", first, int(label)).permutation(mine)
            cut = round(known * mine.size)
            role[order[:cut]], role[order[cut:]] = ROLES.index(first), ROLES.index(second)
    return Split(role, split.fingerprint)
