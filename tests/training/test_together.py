"""Several hooks as one, targets in place of labels, and a training that ends early."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import train
from safedeploy.training.stacked import Stack
from safedeploy.training.together import Together


class Adds(Hooks):
    def __init__(self, amount):
        self.amount, self.begun = amount, 0

    def begin(self, training):
        self.begun += 1

    def loss_term(self, logits, labels, training):
        return self.amount * logits.square().mean()

    def state(self):
        return {"begun": self.begun}

    def restore(self, state):
        self.begun = state["begun"]


class Replaces(Hooks):
    alone = "for a reason"

    def loss(self, logits, labels, training):
        return logits.sum() * 0


def test_the_terms_of_all_parts_are_added():
    logits = torch.ones(2, 3)
    both = Together({"a": Adds(1.0), "b": Hooks(), "c": Adds(2.0)})
    assert float(both.loss_term(logits, torch.zeros(2), None)) == 3.0
    assert Together({"b": Hooks()}).loss_term(logits, torch.zeros(2), None) is None


def test_a_whole_overrides_what_one_of_its_parts_does_and_is_alone_where_one_is():
    both = Together({"a": Adds(1.0), "b": Replaces()})
    assert both.overrides("loss")
    assert both.overrides("loss_term")
    assert not both.overrides("choose")
    assert both.alone == "for a reason"
    assert Together({"a": Adds(1.0)}).alone is None


class Watches(Hooks):
    def __init__(self):
        self.calls = []

    def check(self, module):
        self.calls.append("check")

    def begin(self, training):
        self.calls.append("begin")

    def attach(self, training):
        self.calls.append("attach")


def test_a_training_begins_once_and_is_attached_to_in_every_process(small, tmp_path):
    first, again = Watches(), Watches()
    small.run_in(tmp_path, Together({"a": first}))
    small.run_in(tmp_path, Together({"a": again}))
    assert (first.calls, again.calls) == (["begin", "attach"], ["attach"])


def test_every_part_checks_the_module():
    first, second = Watches(), Watches()
    Together({"a": first, "b": second}).check(nn.Linear(2, 2))
    assert first.calls == second.calls == ["check"]


def test_each_part_gets_its_own_state_back():
    both, other = Together({"a": Adds(1.0), "b": Adds(2.0)}), Together({"a": Adds(1.0), "b": Adds(2.0)})
    both.parts["a"].begun = 3
    other.restore(both.state())
    assert (other.parts["a"].begun, other.parts["b"].begun) == (3, 0)


class Teaches(Hooks):
    def begin(self, training):
        training.targets = functional.one_hot(training.y, 4).float()


def test_one_hot_targets_teach_what_labels_teach(small):
    labels, targets = small.make_training(hooks=Hooks()), small.make_training(hooks=Teaches())
    for training in (labels, targets):
        train(training, after_epoch=lambda training: None)
    for first, second in zip(labels.module.parameters(), targets.module.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


class StopsAfterTwo(Hooks):
    def after_epoch(self, training):
        if training.epoch == 2:
            training.stop()


def test_a_hook_ends_the_training(small):
    training, epochs = small.make_training(hooks=StopsAfterTwo()), []
    train(training, after_epoch=lambda training: epochs.append(training.epoch))
    assert epochs == [1, 2]
    assert training.step == 12 < training.total_steps


class Soft(Hooks):
    def begin(self, training):
        draws = torch.Generator().manual_seed(training.seed)
        training.targets = torch.rand(len(training.y), 4, generator=draws).softmax(1)


class Flat(Hooks):
    def loss(self, logits, labels, training):
        return logits.square().mean()


@pytest.mark.parametrize("hooks", [Soft, Flat])
@pytest.mark.parametrize("chain", [True, False])
def test_a_stack_gives_the_weights_that_each_has_alone(small, hooks, chain):
    """A chain of linear layers has its gradients written out, batch normalisation goes through autograd."""

    def network(seed):
        torch.manual_seed(seed)
        middle = [nn.ReLU()] if chain else [nn.BatchNorm1d(8), nn.ReLU()]
        return nn.Sequential(nn.Linear(12, 8), *middle, nn.Linear(8, 4))

    (x, y), seeds = small.blobs(100), (1, 2)
    alone = [small.make_training(network(seed), hooks=hooks(), seed=seed) for seed in seeds]
    for training in alone:
        train(training, after_epoch=lambda training: None)
    modules = [network(seed).train() for seed in seeds]
    rows = [torch.arange(len(y)) for _ in seeds]
    stack = Stack(modules, x, y, rows, [hooks() for _ in seeds], small.recipe, seeds, alone[0].accelerator)
    stack.run(lambda: None)
    stack.release()
    for training, module in zip(alone, modules, strict=True):
        for first, second in zip(training.module.parameters(), module.parameters(), strict=True):
            assert torch.allclose(first, second, atol=1e-5)


def test_targets_survive_a_resume(small, tmp_path):
    """A training cut off after its second epoch goes on with the targets that its beginning made."""

    class CutOff(Soft):
        def after_epoch(self, training):
            if training.epoch == 3:
                raise KeyboardInterrupt

    whole = small.run_in(tmp_path / "whole", Soft())
    with pytest.raises(KeyboardInterrupt):
        small.run_in(tmp_path / "cut", CutOff())

    class NeverBegins(Soft):
        def begin(self, training):
            raise AssertionError

    again = small.run_in(tmp_path / "cut", NeverBegins())
    small.assert_same_bits(whole.weights, again.weights)
