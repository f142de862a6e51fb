"""Prune and grow rules on tensors small enough to follow by hand, and what every step keeps true."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.seeds import torch_generator
from safedeploy.sparsity import grow, prune
from safedeploy.sparsity.update import cosine_rate, update

STRATEGIES = [(pruning, growing) for pruning in prune.RULES for growing in grow.RULES]


def layer(*values):
    """Weights where None is an inactive place: (weights, mask)."""
    return torch.tensor([value or 0.0 for value in values]), torch.tensor([value is not None for value in values])


def places(mask):
    return set(mask.nonzero().flatten().tolist())


def drop(rule, layers, rate):
    weights = {name: weight for name, (weight, _) in layers.items()}
    masks = {name: mask for name, (_, mask) in layers.items()}
    return {name: places(mask) for name, mask in prune.RULES[rule](weights, masks, rate).items()}


def test_magnitude_drops_the_smallest_of_each_layer():
    layers = {"a": layer(0.5, -0.1, None, 3.0, -2.0, None), "b": layer(10.0, None, -20.0, None, 30.0, -40.0, None)}
    assert drop("magnitude", layers, 0.5) == {"a": {0, 1}, "b": {0, 2}}


def test_threshold_drops_the_smallest_of_the_network_in_units_of_each_layers_scale():
    """Over their root mean squares 15.0 and 29.7 they are .03 .01 2 .13 and .67 .84 1.01 1.35: the four smallest go."""
    layers = {
        "a": layer(0.5, -0.1, None, 30.0, -2.0, None, None, None),
        "b": layer(20.0, None, -25.0, None, 30.0, -40.0, None),
    }
    assert drop("threshold", layers, 0.5) == {"a": {0, 1, 4}, "b": {0}}


def test_threshold_does_not_mind_a_layers_scale():
    layers = {"a": layer(0.5, -0.1, None, 30.0, -2.0, None, None, None), "b": layer(2.0, 3.0, 4.0, None, None, None)}
    scaled = {"a": layers["a"], "b": (1e-3 * layers["b"][0], layers["b"][1])}
    assert drop("threshold", scaled, 0.5) == drop("threshold", layers, 0.5)


def test_threshold_leaves_every_layer_one_weight():
    """Four of six fall below: 1 of b, then both of a, then one of three equal ones; a keeps one all the same."""
    layers = {"a": layer(0.1, 0.1, None, None), "b": layer(1.0, 100.0, 100.0, 100.0, None, None, None, None)}
    assert drop("threshold", layers, 0.9) == {"a": {0}, "b": {0, 1}}


def test_threshold_drops_its_share_where_magnitudes_tie():
    """Weights just grown, and those of dead units, are all exactly zero."""
    layers = {"a": layer(*[0.0] * 6, *[1.0] * 4, *[None] * 10), "b": layer(*[0.0] * 6, *[1.0] * 4, *[None] * 10)}
    dropped = drop("threshold", layers, 0.2)
    assert sum(len(found) for found in dropped.values()) == 4


def test_set_drops_the_smallest_positive_and_the_least_negative():
    layers = {"a": layer(0.1, 5.0, -0.2, -7.0, 3.0, -4.0, None, None, None)}
    assert drop("set", layers, 0.34) == {"a": {0, 2}}  # two of six: one of each sign
    lopsided = {"a": layer(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -0.1, -9.0, None, None, None, None)}
    assert drop("set", lopsided, 0.5) == {"a": {0, 1, 2, 6}}


def test_nothing_is_dropped_where_nothing_can_be_grown():
    for rule in prune.RULES:
        assert drop(rule, {"a": layer(1.0, 2.0, 3.0), "b": layer(9.0, None)}, 0.5)["a"] == set()


def test_gradient_growth_takes_the_largest_gradients():
    gradient = torch.tensor([0.1, -9.0, 3.0, -4.0, 0.0, 100.0])
    free = torch.tensor([True, True, True, True, True, False])
    grown = grow.gradient(gradient, free, 2, torch_generator(0))
    assert places(grown) == {1, 3}


def test_random_growth_reaches_every_free_place_and_no_other():
    free = torch.tensor([True, False, True, True, False, True])
    seen = set()
    for seed in range(60):
        grown = grow.random(torch.zeros(6), free, 2, torch_generator(seed))
        assert int(grown.sum()) == 2
        seen |= places(grown)
    assert seen == places(free)


@st.composite
def networks(draw):
    layers = {}
    for number in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 30))
        active = draw(st.integers(1, size))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
        mask = torch.zeros(size, dtype=torch.bool)
        mask[torch.randperm(size, generator=generator)[:active]] = True
        weight, gradient = torch.randn(2, size, generator=generator)
        weight = weight.round() if draw(st.booleans()) else weight  # with ties, or without
        layers[f"layer{number}"] = (weight * mask, mask, gradient)
    return layers


@pytest.mark.parametrize("strategy", STRATEGIES, ids="/".join)
@settings(max_examples=60, deadline=None)
@given(networks(), st.floats(0, 0.9), st.integers(0, 100))
def test_every_step_grows_what_it_drops_and_elsewhere(strategy, layers, rate, seed):
    weights, masks, gradients = ({name: parts[k] for name, parts in layers.items()} for k in range(3))
    dropped = prune.RULES[strategy[0]](weights, masks, rate)
    new = update(strategy, weights, masks, gradients, rate, torch_generator(seed))
    shares = [int(rate * int(mask.sum()) + 1e-9) for mask in masks.values()]
    assert sum(int(mask.sum()) for mask in dropped.values()) <= sum(shares)
    for name, mask in masks.items():
        assert not (dropped[name] & ~mask).any()  # only active weights are dropped
        assert int(new[name].sum()) == int(mask.sum())  # and as many grow
        assert not (new[name] & dropped[name]).any()  # none of them where it was
        assert not (mask & ~dropped[name] & ~new[name]).any()  # the rest stays
        assert int((mask & ~dropped[name]).sum()) >= 1
        grown = new[name] & ~mask
        if strategy[1] == "gradient" and grown.any():
            left = ~mask & ~grown
            if left.any():
                assert gradients[name].abs()[grown].min() >= gradients[name].abs()[left].max()


def test_a_step_is_the_seed_s_own():
    weights = {"a": torch.randn(200, generator=torch.Generator().manual_seed(0))}
    masks = {"a": torch.arange(200) < 50}
    steps = [update(("magnitude", "random"), weights, masks, weights, 0.5, torch_generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(steps[0]["a"], steps[1]["a"])
    assert not torch.equal(steps[0]["a"], steps[2]["a"])


def test_the_rate_falls_along_a_cosine():
    assert cosine_rate(0, 100, 0.5, 0.005) == 0.5
    assert cosine_rate(50, 100, 0.5, 0.005) == pytest.approx(0.2525)
    assert cosine_rate(100, 100, 0.5, 0.005) == pytest.approx(0.005)
    assert cosine_rate(170, 100, 0.5, 0.005) == pytest.approx(0.005)
    rates = [cosine_rate(step, 100, 0.3, 0.0) for step in range(101)]
    assert rates == sorted(rates, reverse=True)
