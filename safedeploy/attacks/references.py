"""Reference models as an attack sees them: their answers on a pool of samples, and which of them trained on which."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.views import ITSELF
from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError
from safedeploy.results import Views

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

    def __init__(
        self, digests: NDArray[np.bytes_], labels: NDArray[np.int64], phi: Floats, member: Bools, views: Views = ITSELF
    ) -> None:
        """digests: (N,) sha256 of the pool's inputs; labels: (N,); phi: (K, N, Q) at the Q `views`; member: (K, N)."""
        self._digests, self._labels, self._phi, self._member, self.views = digests, labels, phi, member, views
        # by id; the samples are held, so no other has their id
        self._answers: dict[int, tuple[Samples, Answers]] = {}
        self._places: dict[int, tuple[Samples, list[NDArray[np.int64]]]] = {}

    @property
    def count(self) -> int:
        return int(self._phi.shape[0])

    def take(self, count: int) -> "References":
        """The first `count` of them alone."""
        fewer = References(self._digests, self._labels, self._phi[:count], self._member[:count], self.views)
        fewer._places = self._places  # the samples are in the same rows of the pool
        return fewer

    def of(self, samples: Samples) -> Answers:
        """Their answers on `samples`. Raises UserError where the pool does not hold one of them under its label."""
        if id(samples) not in self._answers:
            rows, *copies = self._find(samples)
            member = self._member[:, rows]
            for same in copies:  # the same content twice: in where either copy is
                member[:, np.isin(rows, same)] = np.logical_or.reduce(self._member[:, same], axis=1)[:, None]
            self._answers[id(samples)] = (samples, Answers(self._phi[:, rows], member))
        return self._answers[id(samples)][1]

    def _find(self, samples: Samples) -> list[NDArray[np.int64]]:
        """Each sample's row of the pool, and after that the rows of every content that several rows share."""
        if id(samples) not in self._places:
            self._places[id(samples)] = (samples, self._look_up(samples))
        return self._places[id(samples)][1]

    def _look_up(self, samples: Samples) -> list[NDArray[np.int64]]:
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
        for k in np.flatnonzero(self._labels[rows] != samples.y):  # one content under several labels
            same = order[first[k] : last[k]]
            rows[k] = same[np.argmax(self._labels[same] == samples.y[k])]
        differing = int((self._labels[rows] != samples.y).sum())
        if differing:
            raise UserError(f"{differing:,} of {len(wanted):,} samples have another label in the references' pool")
        return [
            rows,
            *(
                order[start:stop]
                for start, stop in {*zip(first.tolist(), last.tolist(), strict=True)}
                if stop - start > 1
            ),
        ]
