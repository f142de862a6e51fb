"""The safety test: known samples alone, halves that share nothing, scores by hand, and the state a resume needs."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.methods.safety import Outcome, SafetyTest, matched_scores, tm_scores
from safedeploy.methods.testers.base import Effort

BLACK, WHITE = "neural-black", "neural-white"
SHORT = Effort(first_steps=5, steps=5)


class Memory(nn.Module):
    """Sure of the right answer on what it holds, and of nothing else."""

    def __init__(self, x, y, classes):
        super().__init__()
        self.register_buffer("held", torch.from_numpy(x))
        self.register_buffer("answers", nn.functional.one_hot(torch.from_numpy(y), classes).float())
        self.last = nn.Linear(classes, classes, bias=False)
        nn.init.eye_(self.last.weight)

    def forward(self, x):
        same = (x[:, None] == self.held[None]).all(2).float()
        return self.last(8 * same @ self.answers)


class Constant(nn.Module):
    def __init__(self, columns, classes):
        super().__init__()
        self.last = nn.Linear(columns, classes)
        nn.init.zeros_(self.last.weight)

    def forward(self, x):
        return self.last(x)


def outcome(right, **attack):
    """`right`: '110' says that the first two of three validation samples are answered right."""
    return Outcome(np.array([digit == "1" for digit in right]), attack)


# --- scores ---


def test_the_tm_score_is_task_over_strongest_attack():
    both = outcome("11110", black=0.6, white=0.64)
    assert tm_scores([both], 1.0) == pytest.approx([0.8 / 0.64])
    assert tm_scores([both], 2.0) == pytest.approx([0.8 / 0.64**2])
    assert tm_scores([outcome("11110", black=0.4)], 1.0) == pytest.approx([0.8 / 0.5])


def test_the_matched_score_takes_the_least_caught_of_the_equally_accurate():
    """Of 16 samples the best has 12. The second lacks 2 of them and has 1 more: 1/16 behind, √3/16 = .108 of error.
    The third has 4 fewer and none more: 4/16 behind, √4/16 of error, so it is behind however little it leaks.
    """
    best = outcome("1111111111110000", black=0.8)
    near = outcome("1111111111001000", black=0.7)
    far = outcome("1111111100000000", black=0.5)
    assert matched_scores([best, near, far]) == pytest.approx([0.2, 0.3, -0.25])


def test_the_matched_score_counts_an_attack_below_chance_as_chance():
    assert matched_scores([outcome("11", black=0.3), outcome("11", black=0.5)]) == [0.5, 0.5]


# --- what it sees ---


def test_the_halves_share_nothing_and_come_from_the_known_roles(toy):
    context = toy.context(members=400)
    known = SafetyTest(context, [BLACK], 200, SHORT).known
    sides = [known.members.x, known.nonmembers.x, known.judged.x[known.inside], known.judged.x[~known.inside]]
    rows = [{row.tobytes() for row in side} for side in sides]
    assert [len(part) for part in rows] == [200] * 4
    assert len(set.union(*rows)) == 800
    assert rows[0] | rows[2] <= {row.tobytes() for row in context.members.x}
    assert rows[1] | rows[3] <= {row.tobytes() for row in context.nonmembers.x}


def test_sides_of_unequal_size_are_cut_to_halves_of_their_own(toy):
    known = SafetyTest(toy.context(nonmembers=toy.samples(30, 5)), [BLACK], 500, SHORT).known
    assert [len(known.members.y), len(known.nonmembers.y)] == [50, 15]
    assert [int(known.inside.sum()), int((~known.inside).sum())] == [50, 15]


def test_task_accuracy_is_of_validation_alone(toy):
    context = toy.context()
    test = SafetyTest(context, [BLACK], 50, SHORT)
    right = Memory(context.validation.x, context.validation.y, toy.classes)
    wrong = Memory(context.validation.x, (context.validation.y + 1) % toy.classes, toy.classes)
    assert [done.task for done in test.judge([test.observe(right), test.observe(wrong)])] == [1.0, 0.0]


def test_a_safety_test_leaves_the_module_and_the_global_random_state_as_they_were(toy):
    module = toy.network().train()
    test = SafetyTest(toy.context(), [BLACK, WHITE, "margin"], 50, SHORT)
    weights, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    test.begin(module)
    test.judge([test.observe(module)])
    assert torch.equal(torch.get_rng_state(), random)
    assert module.training
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


# --- the papers' attackers ---


@pytest.mark.parametrize("names", [[BLACK], [WHITE], [BLACK, WHITE]])
def test_memory_is_caught_and_a_constant_gives_nothing_away(toy, names):
    context = toy.context(members=400)
    for module, low, high in (
        (Memory(context.members.x, context.members.y, toy.classes), 0.97, 1.0),
        (Constant(10, toy.classes), 0.4, 0.6),
    ):
        test = SafetyTest(context, names, 200, Effort(first_steps=60))
        (done,) = test.judge([test.observe(module)])
        assert list(done.attack) == names
        assert all(low <= value <= high for value in done.attack.values())


def test_attackers_are_judged_on_samples_they_did_not_fit(toy):
    """Memory of the fitting half alone is no leak on the other half."""
    context = toy.context(members=400)
    test = SafetyTest(context, [BLACK], 200, Effort(first_steps=60))
    learnt = test.known.members
    (done,) = test.judge([test.observe(Memory(learnt.x, learnt.y, toy.classes))])
    assert done.attack[BLACK] < 0.6


def test_one_candidate_that_leaks_is_told_from_one_that_does_not(toy):
    context = toy.context(members=400)
    test = SafetyTest(context, [BLACK], 200, Effort(first_steps=60))
    modules = [Constant(10, toy.classes), Memory(context.members.x, context.members.y, toy.classes)]
    quiet, leaking = test.judge([test.observe(module) for module in modules])
    assert leaking.strongest > quiet.strongest + 0.2


@pytest.mark.parametrize("names", [[BLACK], [WHITE], [BLACK, WHITE]])
def test_attackers_put_back_judge_as_they_would_have(toy, names):
    context, module = toy.context(), toy.network()
    first = SafetyTest(context, names, 50, SHORT)
    first.judge([first.observe(module)])
    second = SafetyTest(context, names, 50, SHORT)
    second.restore(copy.deepcopy(first.state()))
    (one,), (other,) = (test.judge([test.observe(module)]) for test in (first, second))
    assert one.attack == other.attack
    fresh = SafetyTest(context, names, 50, SHORT)
    fresh.restore(SafetyTest(context, names, 50, SHORT).state())
    assert fresh.testers[names[0]].network is None
    networks = [test.testers[names[0]].network.state_dict() for test in (first, second)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_attackers_stay_warm(toy):
    """Many small fits add up: later tests catch what a first, short one could not."""
    context = toy.context(members=400)
    module = Memory(context.members.x, context.members.y, toy.classes)
    test = SafetyTest(context, [BLACK], 200, Effort(first_steps=1, steps=5))
    found = [test.judge([test.observe(module)])[0].attack[BLACK] for _ in range(8)]
    assert found[-1] > 0.95
    assert found[-1] >= found[0]


def test_a_model_that_no_white_box_attacker_can_open_is_told_before_the_training(toy):
    class Twisted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, toy.classes)

        def forward(self, x):
            return self.linear(x) ** 2

    for names in ([WHITE], [BLACK, WHITE]):
        with pytest.raises(UserError, match="last layer is not linear; use --attacker black"):
            SafetyTest(toy.context(), names, 50, SHORT).begin(Twisted())
    SafetyTest(toy.context(), [BLACK], 50, SHORT).begin(Twisted())
