"""Every pair of a prune and a grow rule on two layers that can be followed by hand."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.seeds import torch_generator
from safedeploy.sparsity import grow, prune
from safedeploy.sparsity.update import update

# places 0 to 3 of each layer are active, 4 to 7 free
WEIGHTS = {"a": [0.1, -3.0, 0.2, -0.5, 0, 0, 0, 0], "b": [1.0, 1.0, 1.0, 1.0, 0, 0, 0, 0]}
GRADIENTS = {"a": [10.0, 0.1, 2.0, 1.0, 5.0, -7.0, 1.0, 2.0], "b": [4.0, 3.0, 2.0, 1.0, 1.0, 2.0, -3.0, 4.0]}
MEAN = {"a": [9.0, 9.0, 9.0, 9.0, 0.0, 1.0, -3.0, 2.0], "b": [9.0, 9.0, 9.0, 9.0, 4.0, -3.0, 2.0, 1.0]}
FIRED = {"a": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], "b": [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]}

# Half of four goes. Saliencies w · g: a 1.0 −.3 .4 −.5, b 4 3 2 1. In units of root mean squares, 1.52 and 1, the
# four smallest of both layers are .07 .13 and .33 of a, and the first of b's equal ones.
DROPPED = {
    "magnitude": {"a": {0, 2}, "b": {0, 1}},
    "set": {"a": {0, 3}, "b": {0, 1}},
    "taylor": {"a": {1, 2}, "b": {2, 3}},
    "threshold": {"a": {0, 2, 3}, "b": {0}},
}
ORDER = {  # free places, the first to be grown first
    "gradient": {"a": [5, 4, 7, 6], "b": [7, 6, 5, 4]},
    "momentum": {"a": [6, 7, 5, 4], "b": [4, 5, 6, 7]},
}
NEVER = {"a": {7}, "b": {4, 6}}
SIGNALS = {"gradient": GRADIENTS, "momentum": MEAN, "random": GRADIENTS, "random-unfired": FIRED}


def tensors(values):
    return {name: torch.tensor(row) for name, row in values.items()}


def places(mask):
    return set(mask.nonzero().flatten().tolist())


def test_every_rule_has_its_case():
    assert set(DROPPED) == set(prune.RULES)
    assert set(SIGNALS) == set(grow.RULES)


@pytest.mark.parametrize(("pruning", "growing"), list(itertools.product(prune.RULES, grow.RULES)))
def test_every_pair_replaces_what_its_equations_say(pruning, growing):
    masks = {name: torch.arange(8) < 4 for name in WEIGHTS}
    ranked = prune.ranked(pruning, tensors(WEIGHTS), tensors(GRADIENTS))
    for seed in range(20):
        signal = tensors(SIGNALS[growing])
        new = update((pruning, growing), ranked, masks, signal, 0.5, torch_generator(seed))
        for name in WEIGHTS:
            dropped = DROPPED[pruning][name]
            grown = places(new[name]) - {0, 1, 2, 3}
            assert places(new[name]) & {0, 1, 2, 3} == {0, 1, 2, 3} - dropped
            assert len(grown) == len(dropped)
            if growing in ORDER:
                assert grown == set(ORDER[growing][name][: len(dropped)])
            elif growing == "random-unfired":
                first = NEVER[name] if len(dropped) >= len(NEVER[name]) else grown
                assert first <= grown
                assert grown <= NEVER[name] or NEVER[name] <= grown


def test_unfired_growth_is_uniform_among_those_never_active_and_then_among_the_rest():
    free = torch.tensor([True, True, True, True, True, False])
    fired = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    one, four = torch.zeros(6), torch.zeros(6)
    for seed in range(600):
        one += grow.random_unfired(fired, free, 1, torch_generator(seed))
        four += grow.random_unfired(fired, free, 4, torch_generator(seed))
    assert one[3:].tolist() == [0, 0, 0]
    assert one[:3].min() > 150  # of 200
    assert four[:3].tolist() == [600, 600, 600]
    assert four[3:5].min() > 250  # of 300
    assert four[5] == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.data())
def test_unfired_growth_takes_the_never_active_first_and_exactly_so_many(size, data):
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    free, fired = (torch.tensor(data.draw(flags)) for _ in range(2))
    count = data.draw(st.integers(0, int(free.sum())))
    grown = grow.random_unfired(fired.float(), free, count, torch_generator(data.draw(st.integers(0, 99))))
    assert int(grown.sum()) == count
    assert not (grown & ~free).any()
    fresh = free & ~fired
    assert int((grown & fresh).sum()) == min(count, int(fresh.sum()))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.floats(0, 0.95), st.integers(0, 1000))
def test_taylor_is_magnitude_of_the_saliency_squared(size, rate, seed):
    generator = torch.Generator().manual_seed(seed)
    weight, gradient = torch.randn(2, size, generator=generator)
    masks = {"a": torch.rand(size, generator=generator) < 0.5}
    ranked = prune.ranked("taylor", {"a": weight, "bias": weight}, {"a": gradient})
    dropped = prune.taylor(ranked, masks, rate)["a"]
    assert int(dropped.sum()) == prune.drop_count(masks["a"], rate)
    left = masks["a"] & ~dropped
    if dropped.any() and left.any():
        saliency = (weight * gradient) ** 2
        assert saliency[dropped].max() <= saliency[left].min()
