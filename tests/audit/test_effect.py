"""The effect of the number of references: the same attack with the first of them is in the evidence beside all."""

import numpy as np

from safedeploy.attacks.membership import select
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.audit.attempt import attempt
from safedeploy.audit.effect import reference_effect
from safedeploy.data.samples import Samples, content_digests
from safedeploy.roc import auc

ATTACKS = select(["loss", "lira-offline", "rmia-online"])


def pool_of(made, exam, count):
    """References that answer like honest models, surer of what they trained on."""
    sides = (exam.members, exam.nonmembers, exam.knowledge.members, exam.knowledge.nonmembers)
    pool = Samples(np.concatenate([side.x for side in sides]), np.concatenate([side.y for side in sides]))
    generator = np.random.default_rng(0)
    first = [generator.permutation(len(pool.y)) < len(pool.y) // 2 for _ in range(count // 2)]
    member = np.array([side for half in first for side in (half, ~half)])
    phi = scaled_logit(made.honest().logits(pool.x), pool.y) + generator.normal(size=member.shape) + 2 * member
    return References(content_digests(pool.x), pool.y, phi[:, :, None], member)


def test_the_rows_are_the_attack_with_the_first_references(made):
    exam = made.exam(100)
    references = pool_of(made, exam, 8)
    artifact = made.memoriser(exam.knowledge.members, exam.members)
    whole = attempt(artifact, exam, ATTACKS, references)
    rows = reference_effect(artifact, exam, whole, (0.1,))
    assert [(row.attack, row.references) for row in rows] == [
        (name, count) for name in ("lira-offline", "rmia-online") for count in (2, 4, 8)
    ]
    for row in rows:
        (found,) = attempt(artifact, exam, select([row.attack]), references.take(row.references)).scores.values()
        assert row.auc == auc(found.values[:100], found.values[100:])
        assert [rate.fpr for rate in row.tpr] == [0.1]


def test_without_references_there_is_nothing_to_show(made):
    exam = made.exam(60)
    assert reference_effect(made.honest(), exam, attempt(made.honest(), exam, select(["loss"])), (0.1,)) == []
