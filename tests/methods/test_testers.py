"""Testers: any attack of the audit tests candidates, those with references against models trained once at first."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import select
from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError
from safedeploy.methods.registry import make_method
from safedeploy.methods.safety import SafetyTest
from safedeploy.methods.testers import TESTERS, require_known
from safedeploy.methods.testers.base import Effort
from safedeploy.recipe import MethodRecipe, ModelRecipe
from safedeploy.roc import auc
from safedeploy.training import group


@pytest.fixture
def context(toy):
    """Of a model from the zoo, since references are built anew."""
    return replace(toy.context(), model=ModelRecipe(name="mlp"), training=toy.recipe)


def artifact_of(module, context):
    return TorchArtifact(module, "candidate", context.input_shape, context.classes)


@pytest.mark.parametrize("name", ["loss", "margin", "modified-entropy-by-class", "gradient-norm", "boosted"])
def test_an_attack_of_the_audit_tests_as_it_attacks(toy, context, name):
    module = toy.network()
    test = SafetyTest(context, [name], 50, Effort())
    test.begin(module)
    (done,) = test.judge([test.observe(module)])
    known = test.known
    (attack,) = select([name])
    knowledge = Knowledge(known.members, known.nonmembers, context.seed)
    scores = attack.score(artifact_of(module, context), knowledge, known.judged).values
    assert done.attack == {name: auc(scores[known.inside], scores[~known.inside])}


def test_references_are_trained_on_complementary_halves_of_known_samples_alone(toy, context, monkeypatch):
    seen = []
    original = group.train_group

    def watch(jobs, pool, recipe, told):
        seen.append((jobs, pool, recipe))
        original(jobs, pool, recipe, told)

    monkeypatch.setattr("safedeploy.training.many.train_group", watch)
    longer = replace(context, training=toy.recipe.model_copy(update={"epochs": 24}))
    test = SafetyTest(longer, ["rmia", "lira"], 50, Effort(references=4, reference_epochs=0.5))
    test.begin(toy.network())
    ((jobs, (x, _), recipe),) = seen  # once, all four as one stack
    assert recipe.epochs == 12
    given = {bytes(row) for row in content_digests(x.numpy())}
    assert given == {bytes(row) for part in (context.members, context.nonmembers) for row in content_digests(part.x)}
    for first, second in ((0, 1), (2, 3)):
        assert not set(jobs[first].rows) & set(jobs[second].rows)
        assert len(jobs[first].rows) + len(jobs[second].rows) == 200
    assert set(jobs[0].rows) != set(jobs[2].rows)
    answers = test.testers["rmia"].references.of(test.known.judged)
    assert answers.member.sum(axis=0).tolist() == [2] * 100  # every sample is in half of them
    assert test.testers["rmia"].references is test.testers["lira"].references


def test_an_example_that_the_known_samples_hold_twice_is_in_wherever_a_copy_is(toy, context):
    """Also under two labels, as the rows of a table with few columns are."""
    member, stranger = context.members, context.nonmembers
    twice, rows = member.x.copy(), stranger.x.copy()
    twice[1], rows[0] = twice[0], twice[0]
    labels = stranger.y.copy()
    labels[0] = (member.y[0] + 1) % toy.classes
    known = replace(context, members=Samples(twice, member.y), nonmembers=Samples(rows, labels))
    test = SafetyTest(known, ["rmia"], 50, Effort(references=4))
    test.begin(toy.network())
    references = test.testers["rmia"].references
    where = [references.of(Samples(twice[[0]], y[[0]])).member[:, 0].tolist() for y in (member.y, labels)]
    assert where[0] == where[1]
    assert sum(where[0]) > 2  # of four, each of which holds half of the rows


def test_references_know_which_samples_they_hold(toy, context):
    """After much training they answer their own noisy labels better than others'."""
    longer = replace(context, training=toy.recipe.model_copy(update={"epochs": 60}))
    test = SafetyTest(longer, ["rmia"], 50, Effort(references=2, reference_epochs=1.0))
    test.begin(toy.network())
    answers = test.testers["rmia"].references.of(test.known.judged)
    phi = answers.phi[:, :, 0]
    assert phi[answers.member].mean() > phi[~answers.member].mean() + 1


def test_rmia_catches_memory_that_references_do_not_share(toy, context):
    class Memory(nn.Module):
        """The right answer with logit 8 on what it holds, else a coin's."""

        def __init__(self):
            super().__init__()
            self.register_buffer("held", torch.from_numpy(context.members.x))
            self.register_buffer("answers", nn.functional.one_hot(torch.from_numpy(context.members.y), 3).float())
            self.last = nn.Linear(3, 3, bias=False)
            nn.init.eye_(self.last.weight)

        def forward(self, x):
            return self.last(8 * (x[:, None] == self.held[None]).all(2).float() @ self.answers)

    test = SafetyTest(context, ["rmia", "rmia-offline", "lira"], 50, Effort(references=4))
    module = Memory()
    test.begin(module)
    (done,) = test.judge([test.observe(module)])
    assert min(done.attack.values()) > 0.9


def test_a_resume_does_not_train_references_again(toy, context, monkeypatch):
    module = toy.network()
    first = SafetyTest(context, ["rmia", "neural-black"], 50, Effort(references=2))
    first.begin(module)
    state = copy.deepcopy(first.state())

    def never(*_):
        raise AssertionError

    monkeypatch.setattr("safedeploy.methods.safety.train_references", never)
    second = SafetyTest(context, ["rmia", "neural-black"], 50, Effort(references=2))
    second.restore(state)
    (one,), (other,) = (test.judge([test.observe(module)]) for test in (first, second))
    assert one.attack == other.attack


def test_references_are_the_seed_s_own_and_leave_the_random_state(toy, context):
    made = []
    for seed in (0, 0, 1):
        test = SafetyTest(replace(context, seed=seed), ["rmia"], 100, Effort(references=2))
        random = torch.get_rng_state()
        test.begin(toy.network())
        assert torch.equal(torch.get_rng_state(), random)
        made.append(test.testers["rmia"].references.of(test.known.members).phi)
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


# --- as options ---


def options(**given):
    return MethodRecipe(name="safecompress", density=0.2, options=given)


def test_the_attacker_and_the_testers_are_one_list(context):
    named = [
        ({"attacker": "black"}, ["neural-black"]),
        ({"attacker": "both"}, ["neural-black", "neural-white"]),
        ({"testers": ["margin"]}, ["margin"]),
        ({"attacker": "white", "testers": ["rmia", "margin"]}, ["neural-white", "rmia", "margin"]),
        ({"attacker": "black", "testers": "neural-black"}, ["neural-black"]),
    ]
    for given, wanted in named:
        assert list(make_method(options(**given), context).test.testers) == wanted


def test_every_name_of_the_table_makes_a_tester(context):
    for name in TESTERS:
        if TESTERS[name] != "attribute":  # which needs a sensitive column
            SafetyTest(context, [name], 25, Effort())


def test_a_name_that_is_no_tester_s_is_one_line_with_the_nearest(context):
    with pytest.raises(UserError, match="unknown tester 'rmi'; did you mean 'rmia'"):
        make_method(options(testers=["rmi"]), context)
    with pytest.raises(UserError):
        require_known(("nothing",))


def test_fewer_than_two_references_are_refused(context):
    with pytest.raises(UserError, match="references"):
        make_method(options(testers="rmia", references=1), context)


def test_a_model_no_tester_can_open_is_told_before_the_training(toy, context):
    class Twisted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 3)

        def forward(self, x):
            return torch.einsum("bi,oi->bo", x, self.linear.weight) ** 2

    with pytest.raises(UserError, match="tester gradient-norm cannot attack this model"):
        SafetyTest(context, ["gradient-norm"], 50, Effort()).begin(Twisted())


def test_the_log_says_what_every_tester_found_of_every_candidate(toy, context, tmp_path):
    given = {"interval": 5, "gradient_steps": 2, "test_every": 2, "candidate_steps": 3, "references": 2}
    hooks = make_method(options(**given, testers=["rmia", "margin"]), context)
    made = toy.train(tmp_path, hooks)
    lines = [event for event in made.events if event["event"] == "candidate"]
    assert len({line["step"] for line in lines}) == 4
    for line in lines:
        assert list(line["attack_success"]) == ["rmia", "margin"]
        assert all(0 <= value <= 1 for value in line["attack_success"].values())
