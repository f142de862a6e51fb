"""The one loop: plain SGD where no method plugs in, zeros that stay zero, and steps that can be replayed."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import train


class MaskHalf(Hooks):
    """Random masks of density ½ at the start, other ones at every fifth step."""

    def begin(self, training):
        self.after_step(training)

    def after_step(self, training):
        if training.step % 5 == 0:
            generator = torch.Generator().manual_seed(training.step)
            named = training.module.named_parameters()
            training.set_masks(
                {name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in named if name.endswith("weight")}
            )


def quietly(training):
    train(training, after_epoch=lambda training: None)
    return training.module.state_dict()


def test_a_dense_training_is_plain_sgd_bit_for_bit(small):
    """Nesterov momentum 0.9, weight decay 5e-4, a tenth of the rate from one half and again from three quarters on."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4))
    reference = copy.deepcopy(module)
    training = small.make_training(module)
    assert training.total_steps == 24  # 4 epochs of 100 // 16
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for step in range(24):
        x, y = training.batch(step)
        optimizer.param_groups[0]["lr"] = 0.05 * 0.1 ** ((step >= 12) + (step >= 18))
        optimizer.zero_grad()
        functional.cross_entropy(reference(x), y).backward()
        optimizer.step()
    small.assert_same_bits(quietly(training), reference.state_dict())


def test_an_epoch_meets_every_example_at_most_once_and_each_epoch_in_another_order(small):
    x = torch.arange(100.0)[:, None].expand(-1, 12)
    training = small.make_training(data=(x, torch.zeros(100, dtype=torch.int64)))
    met = torch.cat([training.batch(step)[0][:, 0] for step in range(24)]).view(4, 96)
    for epoch in met:
        assert len(epoch.unique()) == 96
    assert len({tuple(epoch.tolist()) for epoch in met}) == 4


def test_fewer_examples_than_a_batch_are_one_batch(small):
    training = small.make_training(data=small.blobs(10))
    assert training.steps_per_epoch == 1
    assert len(training.batch(0)[1]) == 10


def test_masked_weights_are_exactly_zero_after_every_step(small):
    """With momentum and weight decay, and through changes of the masks."""
    seen = []

    class Watched(MaskHalf):
        def after_step(self, training):
            super().after_step(training)
            for name, mask in training.masks.items():
                weight = training.parameters[name]
                seen.append(bool((weight[~mask] == 0).all()))
                assert weight[mask].count_nonzero() > 0
                momentum = training.optimizer.state[weight].get("momentum_buffer")
                if momentum is not None:
                    seen.append(bool((momentum[~mask] == 0).all()))

    quietly(small.make_training(hooks=Watched()))
    assert all(seen)
    assert len(seen) > 100


def test_a_weight_grown_starts_at_zero_and_without_momentum(small):
    training = small.make_training()
    name = "0.weight"
    half = torch.arange(24)[:, None].expand(24, 12) < 12
    training.set_masks({name: half})
    for _ in range(5):
        training.one_step()
    training.set_masks({name: ~half})
    momentum = training.optimizer.state[training.parameters[name]]["momentum_buffer"]
    assert training.parameters[name].count_nonzero() == 0
    assert momentum.count_nonzero() == 0
    training.one_step()
    assert (training.parameters[name][~half] != 0).any()


def test_hooks_see_dense_gradients_and_the_optimiser_masked_ones(small):
    class Look(Hooks):
        def after_backward(self, training):
            self.dense = training.dense_gradients()["0.weight"]

    training = small.make_training(hooks=Look())
    mask = torch.zeros(24, 12, dtype=torch.bool)
    mask[0] = True
    training.set_masks({"0.weight": mask})
    weight, met = training.parameters["0.weight"], []
    training.optimizer.register_step_pre_hook(lambda *given: met.append(weight.grad.clone()))
    training.one_step()
    assert (training.hooks.dense[1:] != 0).any()
    assert (met[0][~mask] == 0).all()
    assert torch.equal(met[0][mask], training.hooks.dense[mask])


def test_a_loss_term_is_added_to_the_cross_entropy(small):
    class Push(Hooks):
        def loss_term(self, logits, labels, training):
            return 3.0 * logits.square().mean()

    plain, pushed = small.make_training(), small.make_training(hooks=Push())
    sizes = []
    for training in (plain, pushed):
        quietly(training)
        training.module.eval()
        sizes.append(float(training.module(training.x).detach().square().mean()))
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize("hooks", [Hooks, MaskHalf])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(small, hooks):
    first, again, other = (quietly(small.make_training(hooks=hooks(), seed=seed)) for seed in (0, 0, 1))
    small.assert_same_bits(first, again)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_the_global_random_state_before_a_training_does_not_matter(small):
    torch.manual_seed(1)
    first = quietly(small.make_training())
    torch.manual_seed(2)
    small.assert_same_bits(first, quietly(small.make_training()))


@pytest.mark.parametrize("before", [0, 1, 3, 6, 8])
def test_a_state_put_back_replays_the_same_steps(small, before):
    """Across the end of an epoch, with dropout, batch statistics, momentum and changing masks."""
    training = small.make_training(hooks=MaskHalf())
    training.hooks.begin(training)

    def steps(count):
        for _ in range(count):
            training.one_step()
            training.hooks.after_step(training)
        return copy.deepcopy((training.module.state_dict(), training.masks, training.mean_loss))

    steps(before)
    state = training.state()
    kept = copy.deepcopy(state["module"])
    first = steps(7)
    training.restore(state)
    assert training.step == before
    again = steps(7)
    small.assert_same_bits(first[0], again[0])
    small.assert_same_bits(first[1], again[1])
    assert torch.equal(first[2], again[2])
    small.assert_same_bits(state["module"], kept)  # what was put back was not trained on


def test_progress_reaches_one_and_never_falls(small):
    told = []
    train(small.make_training(), after_epoch=lambda training: None, progress=told.append)
    assert told[-1] == 1.0
    assert all(before < after for before, after in pairwise(told))


def test_after_epoch_is_called_once_an_epoch_with_the_mean_loss(small):
    ends = []
    train(small.make_training(), after_epoch=lambda training: ends.append((training.epoch, float(training.mean_loss))))
    assert [epoch for epoch, _ in ends] == [1, 2, 3, 4]
    assert ends[-1][1] < ends[0][1]
