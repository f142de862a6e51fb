"""The controls that make figures mean something: blind, and correctness alone."""

import numpy as np
import pytest

from safedeploy.attacks.base import Knowledge
from safedeploy.audit.audit import correctness_control, task
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples


@pytest.mark.parametrize("seed", range(3))
def test_sets_of_one_distribution_are_not_called_shifted(made, seed):
    blind = made.exam(400, seed).blind
    assert not blind.shifted
    assert blind.auc_low < 0.5 < blind.auc_high


def test_a_shift_of_the_inputs_is_seen(made):
    blind = made.exam(400, shift=0.5).blind
    assert blind.shifted
    assert blind.auc > 0.7
    assert blind.auc_low > 0.5


def test_a_shift_of_the_classes_alone_is_seen(made):
    """The same inputs; but members are mostly of class 0."""
    rng = np.random.default_rng(0)

    def side(seed, weights):
        part = made.samples(600, seed)
        return Samples(part.x, rng.choice(4, size=600, p=weights))

    fair, tilted = [0.25] * 4, [0.7, 0.1, 0.1, 0.1]
    known_in, judged_in = side(0, tilted), side(1, tilted)
    known_out, judged_out = side(2, fair), side(3, fair)
    exam = Exam(Knowledge(known_in, known_out), judged_in, judged_out, tuple("abcd"))
    assert exam.blind.shifted


def test_the_blind_control_is_the_seed_s_own(made):
    assert made.exam(100).blind == made.exam(100).blind


def test_the_blind_control_never_sees_the_model(made):
    exam = made.exam(100)
    artifact = made.memoriser(exam.members)
    assert not exam.blind.shifted
    assert artifact.asked == 0


@pytest.mark.parametrize(("inside", "outside"), [(200, 50), (180, 180), (100, 150)])
def test_correctness_is_half_of_one_plus_the_gap(made, inside, outside):
    """Right on the first `inside` of 200 members and on the first `outside` of 200 non-members."""
    exam = made.exam(200)
    right = {row.tobytes() for row in (*exam.members.x[:inside], *exam.nonmembers.x[:outside])}
    label = {row.tobytes(): y for row, y in zip(exam.targets.x, exam.targets.y, strict=True)}

    def answer(x):
        shown = [label[row.tobytes()] + (row.tobytes() not in right) for row in np.ascontiguousarray(x)]
        return np.eye(4)[np.array(shown) % 4]

    artifact = made.Function(answer)
    found = correctness_control(artifact, exam)
    assert found.attack_accuracy == pytest.approx(0.5 * (1 + inside / 200 - outside / 200))
    assert found.low <= found.attack_accuracy <= found.high
    its = task(artifact, exam)
    assert (its.member_accuracy, its.nonmember_accuracy, its.test_accuracy) == (inside / 200, outside / 200, None)


def test_accuracy_on_test_is_of_test(made):
    test = made.samples(50, 9)
    exam = made.exam(60, test=test)
    assert task(made.memoriser(test), exam).test_accuracy == 1.0
