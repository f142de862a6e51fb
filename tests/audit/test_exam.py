"""What an audit is asked with: enough samples, the same classes on both sides, and nothing both known and judged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.attacks.base import Knowledge
from safedeploy.audit.exam import Exam, halved
from safedeploy.data.samples import Samples
from safedeploy.errors import UserError

NAMES = tuple("abcdefghijkl")


def labelled(labels, seed=0):
    labels = np.asarray(labels, dtype=np.int64)
    return Samples(np.random.default_rng(seed).normal(size=(labels.size, 3)).astype(np.float32), labels)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) >= 50), st.integers(0, 9))
def test_halves_are_disjoint_and_whole_and_hold_every_class(made, sizes, seed):
    members, nonmembers = (labelled(np.repeat(np.arange(len(sizes)), sizes), part) for part in range(2))
    exam = halved(members, nonmembers, NAMES, seed)
    for whole, known, judged in (
        (members, exam.knowledge.members, exam.members),
        (nonmembers, exam.knowledge.nonmembers, exam.nonmembers),
    ):
        assert made.rows(known) | made.rows(judged) == made.rows(whole)
        assert not made.rows(known) & made.rows(judged)
        assert abs(len(known.y) - len(judged.y)) <= 1
        assert set(known.y) == set(judged.y) == set(range(len(sizes)))
        for label in range(len(sizes)):
            assert abs(int((known.y == label).sum()) - int((judged.y == label).sum())) <= 1


def test_a_sample_keeps_its_label():
    members = labelled(np.arange(60) % 5)
    label = {row.tobytes(): y for row, y in zip(members.x, members.y, strict=True)}
    exam = halved(members, labelled(np.arange(60) % 5, 1), NAMES, 0)
    for part in (exam.members, exam.knowledge.members):
        assert all(label[row.tobytes()] == y for row, y in zip(part.x, part.y, strict=True))


def test_a_class_of_one_is_judged_wherever_it_stands():
    """Classes of odd size before it must not push it to the attacker's half, where its class would be missing."""
    for alone in range(4):
        sizes = [21, 19, 17, 15]
        sizes[alone] = 1
        members = labelled(np.repeat(np.arange(4), sizes))
        nonmembers = labelled(np.repeat(np.arange(4), [20] * 4), 1)
        exam = halved(members, nonmembers, NAMES, 0)
        assert (exam.members.y == alone).sum() == 1


def test_the_seed_decides_who_is_judged(made):
    members, nonmembers = labelled(np.arange(100) % 4), labelled(np.arange(100) % 4, 1)
    first, again, other = (made.rows(halved(members, nonmembers, NAMES, seed).members) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(("inside", "outside", "side"), [(49, 60, "members"), (60, 49, "non-members")])
def test_fewer_than_fifty_are_too_few(inside, outside, side):
    with pytest.raises(UserError, match=f"only 49 {side}; an audit needs at least 50"):
        halved(labelled(np.zeros(inside)), labelled(np.zeros(outside), 1), NAMES, 0)


def test_a_run_with_too_few_to_judge_or_to_learn_from_is_one_line():
    enough = labelled(np.arange(40) % 2)
    for few in (labelled(np.arange(24) % 2), enough):
        knowledge = Knowledge(enough, enough)
        if few is enough:
            Exam(knowledge, enough, enough, NAMES)
            continue
        with pytest.raises(UserError, match="only 24 members to judge on"):
            Exam(knowledge, few, enough, NAMES)
        with pytest.raises(UserError, match="only 24 non-members to judge on"):
            Exam(knowledge, enough, few, NAMES)
    with pytest.raises(UserError, match="only 9 members for the attacker to learn from; it needs at least 10"):
        Exam(Knowledge(labelled(np.zeros(9)), enough), enough, enough, NAMES)


def test_sixty_classes_of_one_leave_the_attacker_nothing_and_say_so():
    sides = [labelled(np.arange(60), seed) for seed in range(2)]
    with pytest.raises(UserError, match="only 0 members for the attacker to learn from"):
        halved(*sides, tuple(map(str, range(60))), 0)


@pytest.mark.parametrize(("inside", "outside", "side"), [(3, 2, "non-members"), (2, 3, "members")])
def test_a_class_on_one_side_only_is_named(inside, outside, side):
    members, nonmembers = labelled(np.arange(60) % inside), labelled(np.arange(60) % outside, 1)
    with pytest.raises(UserError, match=f"class c has no {side}: give both sets examples of the same classes"):
        halved(members, nonmembers, NAMES, 0)


def test_targets_are_members_then_nonmembers_and_one_object():
    exam = halved(labelled(np.arange(60) % 3), labelled(np.arange(80) % 3, 1), NAMES, 0)
    np.testing.assert_array_equal(exam.targets.x[:30], exam.members.x)
    np.testing.assert_array_equal(exam.targets.y[30:], exam.nonmembers.y)
    assert exam.targets is exam.targets  # artifacts remember answers by object
