"""How leaky the models of a cell are: each in turn the victim, the others its references, on its evaluation roles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pareto_cells import Cell, Floats, Pool
from safedeploy.artifacts.recorded import RecordedArtifact
from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import lira, rmia, select
from safedeploy.attacks.membership.likelihood import shrunken
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import Answers, References
from safedeploy.data.samples import Samples, content_digests, joined
from safedeploy.data.split import Role
from safedeploy.roc import auc, tpr_at_fpr

ATTACKS = ("loss", "modified-entropy-by-class", "boosted", "rmia-online", "lira-online", "combined")
PAPERS = "neural-black"  # whose balanced accuracy the papers of SafeCompress print
CORRECTNESS = "correctness"


def rows(pool: Pool, cell: Cell, victims: int, papers: int) -> list[dict[str, Any]]:
    """A row a victim and attack: seed, test_accuracy, attack, auc, tpr_1, tpr_01, balanced_accuracy.

    papers: how many victims meet the papers' attacker too, which takes ten times as long as the others together.
    """
    return [
        row
        for number in range(victims)
        for row in _of_victim(pool, cell, number, [*ATTACKS, PAPERS] if number < papers else ATTACKS)
    ]


def _of_victim(pool: Pool, cell: Cell, number: int, names: Sequence[str]) -> list[dict[str, Any]]:
    recorded = RecordedArtifact(Path(f"{number}"), cell.pool[number])
    artifact, part, labels = remember(recorded), pool.part(number), pool.samples.y

    def side(role: Role) -> Samples:
        chosen = np.searchsorted(pool.rows, part.split.indices(role))
        return Samples(recorded.rows[chosen], labels[chosen])

    inside, outside = side("member_eval"), side("nonmember_eval")
    targets = joined(inside, outside)
    others = [k for k in range(len(cell.member)) if not np.array_equal(cell.member[k], ~cell.member[number])]
    others.remove(number)
    references = _references(recorded, labels, cell, others)
    knowledge = Knowledge(side("member_known"), side("nonmember_known"), number, references)
    right = cell.test[number].argmax(axis=1) == pool.test.y
    common = {"seed": number, "test_accuracy": float(right.mean())}
    found = []
    for attack in select(names):
        scores = attack.score(artifact, knowledge, targets)
        found.append(common | {"attack": attack.name} | _figures(scores.values, scores.threshold, len(inside.y)))
    if cell.views is not None:
        known = joined(knowledge.members, knowledge.nonmembers)
        asked = np.concatenate([known.x, targets.x])[:, 0].astype(int)
        by_views = at_views(cell.views[:, asked], cell.member[:, asked], labels[asked], number, others)
        for name, values in by_views.items():
            cut = float(np.median(values[: len(known.y)]))  # by the samples that the attacker knows
            found.append(common | {"attack": name} | _figures(values[len(known.y) :], cut, len(inside.y)))
    hits = cell.pool[number].argmax(axis=1) == labels
    fits = np.concatenate([hits[part.x[:, 0].astype(int)] for part in (inside, outside)]).astype(float)
    return [*found, common | {"attack": CORRECTNESS} | _figures(fits, 0.5, len(inside.y))]


def at_views(
    views: Floats, member: NDArray[np.bool_], labels: NDArray[np.int64], number: int, others: list[int]
) -> dict[str, NDArray[np.float64]]:
    """RMIA's and LiRA's scores (n,) at all views, as audits of an augmented training ask. views: (K, n, Q, classes)."""
    count = views.shape[2]
    phi = np.stack([np.stack([scaled_logit(one[:, view], labels) for view in range(count)], axis=1) for one in views])
    answers = Answers(phi[others], member[others])
    return {
        f"rmia-online at {count} views": rmia.ratio(phi[number], rmia.mean_probability(answers)),
        f"lira-online at {count} views": lira.ratio(phi[number], answers, shrunken),
    }


def _references(recorded: RecordedArtifact, labels: NDArray[np.int64], cell: Cell, others: list[int]) -> References:
    phi = np.stack([scaled_logit(cell.pool[k], labels) for k in others])[:, :, None]
    return References(content_digests(recorded.rows), labels, phi, cell.member[others])


def _figures(values: NDArray[np.float64], threshold: float, inside: int) -> dict[str, float]:
    members, nonmembers = values[:inside], values[inside:]
    return {
        "auc": auc(members, nonmembers),
        "tpr_1": tpr_at_fpr(members, nonmembers, 0.01).tpr,
        "tpr_01": tpr_at_fpr(members, nonmembers, 0.001).tpr,
        "balanced_accuracy": float(((members >= threshold).mean() + (nonmembers < threshold).mean()) / 2),
    }
