"""Reference models as an attack sees them: their answers on a pool of samples, and which of them trained on which."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """K reference models on n samples.

    phi: (K, n, Q) float64, log p_y − log(1 − p_y) at each of Q views of the sample (`views.py`; the first is itself).
    member: (K, n), whether the model trained on the sample.
    """

    phi: Floats
    member: Bools


class References:
    """K reference models, each trained on a half of a pool, drawn independently of who trained the audited model.

    Models 2j and 2j + 1 hold complementary halves, so that every sample is in exactly half of an even number of them.
    """

    def __init__(self, digests: NDArray[np.bytes_], labels: NDArray[np.int64], phi: Floats, member: Bools) -> None:
        """digests: (N,) sha256 of the pool's inputs; labels: (N,); phi: (K, N, Q); member: (K, N)."""
        self._digests, self._labels, self._phi, self._member = digests, labels, phi, member
        self._kept: dict[int, tuple[Samples, Answers]] = {}  # by id; the samples are held, so no other has their id

    @property
    def count(self) -> int:
        return int(self._phi.shape[0])

    @property
    def views(self) -> int:
        return int(self._phi.shape[2])

    def take(self, count: int) -> "References":
        """The first `count` of them alone."""
        return References(self._digests, self._labels, self._phi[:count], self._member[:count])

    def of(self, samples: Samples) -> Answers:
        """Their answers on `samples`. Raises UserError where the pool does not hold one of them under its label."""
        if id(samples) not in self._kept:
            self._kept[id(samples)] = (samples, self._look_up(samples))
        return self._kept[id(samples)][1]

    def _look_up(self, samples: Samples) -> Answers:
        order = np.argsort(self._digests, kind="stable")
        known, wanted = self._digests[order], content_digests(samples.x)
        first, last = (np.searchsorted(known, wanted, side=side) for side in ("left", "right"))
        absent = int((first == last).sum())
        if absent:
            raise UserError(
                f"{absent:,} of {len(wanted):,} samples are not in the reference models' pool: make"
                " references on a pool that holds every sample judged"
            )
        rows = order[first]
        differing = int((self._labels[rows] != samples.y).sum())
        if differing:
            raise UserError(
                f"{differing:,} of {len(wanted):,} samples have another label in the reference models' pool"
            )
        member = self._member[:, rows]
        for copies in np.flatnonzero(last - first > 1):  # the same content twice: in where either copy is
            member[:, copies] = self._member[:, order[first[copies] : last[copies]]].any(axis=1)
        return Answers(self._phi[:, rows], member)
