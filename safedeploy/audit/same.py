"""The A/A control: non-members against non-members. Whatever is found there, the audit's own arithmetic made up."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from safedeploy.attacks.base import Attack, Scores
from safedeploy.audit.exam import Exam
from safedeploy.audit.joint import CONFIDENCE, joint_confidence
from safedeploy.audit.ranking import begins, chunks
from safedeploy.delong import placements
from safedeploy.results import SameAttack, SameControl
from safedeploy.roc import proportion_interval
from safedeploy.seeds import numpy_generator

Floats = NDArray[np.float64]

SPLITS = 200
SURE = 0.99  # of the interval that must lie above the nominal rate before the audit is called miscalibrated


def same_control(scores: Mapping[Attack, Scores], exam: Exam) -> SameControl:
    """Split the judged non-members in halves at random, `SPLITS` times; one half is called members.

    Counts how often DeLong's interval leaves out ½, for each attack alone and for the audit after its correction. Both
    should happen in 5 splits of 100, however the scores are distributed and tied; where they happen more often, an
    audit's intervals on these very scores are too narrow to believe.
    """
    count, seed = len(exam.members.y), exam.knowledge.seed
    rows = [each.values[count:] for each in scores.values()]
    outside = rows[0].size
    half = outside // 2
    draw = numpy_generator(seed, "same")
    mine = draw.permutation(outside) < half
    together = joint_confidence([placements(row[mine], row[~mine]) for row in rows], seed)
    one, all_ = (float(stats.norm.ppf(0.5 + confidence / 2)) for confidence in (CONFIDENCE, together))
    labels = np.repeat(np.array([True, False]), [half, outside - half])
    areas = np.empty((len(rows), SPLITS))
    distance = np.empty((len(rows), SPLITS))
    begun = 0
    for size in chunks(outside, SPLITS):
        inside = np.ascontiguousarray(draw.permuted(np.tile(labels, (size, 1)), axis=1).T)
        for place, row in enumerate(rows):
            value, error = _areas(row, inside)
            areas[place, begun : begun + size] = value
            distance[place, begun : begun + size] = _distance(value, error)
        begun += size
    alarms = int((distance > all_).any(axis=0).sum())
    low, high = proportion_interval(alarms, SPLITS, SURE)
    nominal = round(1 - CONFIDENCE, 9)
    return SameControl(
        splits=SPLITS,
        alarms=alarms,
        rate=alarms / SPLITS,
        low=low,
        high=high,
        nominal=nominal,
        calibrated=low <= nominal,
        attacks=[
            SameAttack(
                name=attack.name,
                rate=float((distance[place] > one).mean()),
                auc_low=float(np.quantile(areas[place], 0.025)),
                auc_high=float(np.quantile(areas[place], 0.975)),
            )
            for place, attack in enumerate(scores)
        ],
    )


def _distance(area: Floats, error: Floats) -> Floats:
    """|logit(AUC)| in its standard errors, as DeLong's interval on the logit scale has it; 0 where nothing varies."""
    room = area * (1 - area)
    usable = (error > 0) & (room > 0)
    area, error, room = (np.where(usable, part, 0.5) for part in (area, error, room))
    return np.where(usable, np.abs(np.log(area / (1 - area))) * room / error, 0.0)


def _areas(scores: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """AUC and DeLong's standard error, each (B,), where `inside` (n, B) says who is called a member in each draw."""
    order = np.argsort(scores, kind="stable")
    new = begins(scores[order])
    group = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    last = np.r_[first[1:], scores.size]
    members = inside[order]
    counted = np.zeros((scores.size + 1, inside.shape[1]), dtype=np.int32)
    np.cumsum(members, axis=0, dtype=np.int32, out=counted[1:])
    m = counted[-1]
    n = scores.size - m
    below = 0.5 * (counted[first] + counted[last])  # members below a group of ties, half of those in it counted
    middle = 0.5 * (first + last)[:, None]
    over_members = (middle - below)[group] / n  # the share of non-members below, by midranks
    over_nonmembers = 1 - below[group] / m
    area = (over_members * members).sum(axis=0) / m
    outside = ~members
    spread = [
        ((part - area) ** 2 * side).sum(axis=0) / (size - 1) / size
        for part, side, size in ((over_members, members, m), (over_nonmembers, outside, n))
    ]
    return area, np.sqrt(spread[0] + spread[1])
