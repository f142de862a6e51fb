"""What an audit asks: the attacker's known samples, and the members and non-members it is judged on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safedeploy.attacks.base import Knowledge
from safedeploy.audit.blind import blind_control
from safedeploy.data.samples import Samples, joined
from safedeploy.data.sensitive import SensitiveColumn
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.results import BlindControl
from safedeploy.seeds import numpy_generator

MIN_SAMPLES = 50
MIN_KNOWN = 10


@dataclass(frozen=True, eq=False)
class Exam:
    """`members` and `nonmembers` are the evaluation samples, disjoint from `knowledge`; `test` is for accuracy.

    `member_index`: the place of each of `members` among the examples its owner knows them by; None where it is its own.
    `withheld`: the sensitive column that the model never saw and the samples carry, with its values' names.
    """

    knowledge: Knowledge
    members: Samples
    nonmembers: Samples
    class_names: tuple[str, ...]
    test: Samples | None = None
    member_index: Indices | None = None
    withheld: SensitiveColumn | None = None

    def __post_init__(self) -> None:
        for side, samples in (("members", self.members), ("non-members", self.nonmembers)):
            if len(samples.y) < MIN_SAMPLES // 2:
                needed = f"an audit needs at least {MIN_SAMPLES} {side} in all"
                raise UserError(f"only {len(samples.y)} {side} to judge on; {needed}")
        for side, samples in (("members", self.knowledge.members), ("non-members", self.knowledge.nonmembers)):
            if len(samples.y) < MIN_KNOWN:
                needed = f"it needs at least {MIN_KNOWN}"
                raise UserError(f"only {len(samples.y)} {side} for the attacker to learn from; {needed}")
        inside, outside = (set(np.unique(samples.y).tolist()) for samples in (self.members, self.nonmembers))
        for label in sorted(inside ^ outside):
            side = "non-members" if label in inside else "members"
            name = self.class_names[label]
            raise UserError(f"class {name} has no {side}: give both sets examples of the same classes")

    @cached_property
    def targets(self) -> Samples:
        """Members, then non-members: one object, so that every attack shares the artifact's answers on it."""
        return joined(self.members, self.nonmembers)

    @cached_property
    def blind(self) -> BlindControl:
        """The same for every file audited on these samples."""
        return blind_control(self.knowledge, self.members, self.nonmembers)


def halved(
    members: Samples,
    nonmembers: Samples,
    class_names: tuple[str, ...],
    seed: int,
    withheld: SensitiveColumn | None = None,
) -> Exam:
    """An exam from two plain sets: in each, half is the attacker's knowledge and half is judged, class by class."""
    for side, samples in (("members", members), ("non-members", nonmembers)):
        if len(samples.y) < MIN_SAMPLES:
            raise UserError(f"only {len(samples.y)} {side}; an audit needs at least {MIN_SAMPLES}: give more samples")
    (known_in, judged_in), (known_out, judged_out) = (_halves(samples, seed) for samples in (members, nonmembers))
    knowledge = Knowledge(members.at(known_in), nonmembers.at(known_out), seed)
    judged = members.at(judged_in), nonmembers.at(judged_out)
    return Exam(knowledge, *judged, class_names, member_index=judged_in, withheld=withheld)


def _halves(samples: Samples, seed: int) -> tuple[Indices, Indices]:
    """Rows (known, judged): every second sample in order of class, so that a class of two or more is in both."""
    order = numpy_generator(seed, "halves").permutation(len(samples.y))
    by_class = order[np.argsort(samples.y[order], kind="stable")]
    alone = np.bincount(samples.y)[samples.y[by_class]] == 1  # judged: the other set may hold more of that class
    shared = by_class[~alone]
    return np.sort(shared[1::2]), np.sort(np.concatenate([by_class[alone], shared[0::2]]))
