"""What makes an audit doubtful is told: a model that guesses on its members, references that know the members."""

import numpy as np
import pytest

from safedeploy.attacks.membership import select
from safedeploy.attacks.references import References
from safedeploy.audit.audit import audit
from safedeploy.audit.doubts import answers_at_random, require_independent
from safedeploy.data.samples import content_digests
from safedeploy.errors import UserError


def references(exam, member):
    targets = exam.targets
    phi = np.random.default_rng(0).normal(size=(*member.shape, 1))
    return References(content_digests(targets.x), targets.y, phi, member)


def test_a_model_that_guesses_on_its_members_cannot_pass(made):
    exam = made.exam(400)
    attacks = select(["loss", "confidence"])
    evidence = audit(made.guessing(), made.info, exam, budget={"auc": 0.7}, dense="none", attacks=attacks)
    assert evidence.verdict.outcome == "inconclusive"
    assert "not prepared as in training" in evidence.verdict.reason
    assert evidence.verdict.reason in evidence.notes


def test_a_model_that_knows_its_members_is_not_doubted(made):
    exam = made.exam(100)
    assert answers_at_random(made.memoriser(exam.knowledge.members, exam.members), exam) == ""


def test_random_halves_are_independent_of_who_is_a_member(made):
    exam = made.exam(400)
    member = np.random.default_rng(1).random((8, 800)) < 0.5
    require_independent(references(exam, member), exam)


@pytest.mark.parametrize("side", [True, False])
def test_references_that_trained_on_the_members_or_on_their_complement_are_refused(made, side):
    exam = made.exam(100)
    member = np.tile(np.repeat([side, not side], 100), (2, 1))
    with pytest.raises(UserError, match=r"reference 0 trained on (100|0)% of the members"):
        require_independent(references(exam, member), exam)
