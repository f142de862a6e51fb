"""Units by hand, and what holds for every structure: masks are unions of whole units, and the way there and back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ZOO, Branches, as_trained, masked
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.seeds import torch_generator
from safedeploy.sparsity.masks import layer_densities, shapes, total_density
from safedeploy.sparsity.structure import (
    as_shipped,
    at_random,
    counts_of,
    largest,
    masks_by_magnitude,
    projected,
    structured,
)

SHAPE = (4, 6, 6)
GROUPED = ["filter", "column", "kernel", "pattern", "block:1x4", "block:2x3"]
STRUCTURES = ["irregular", "channel", *GROUPED, "2:4", "1:2"]


def network(width=8, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(4, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3),
        )  # fmt: skip


def one_layer(weights):
    """A linear layer with these weights, and another after it that answers."""
    values = torch.tensor(weights)
    module = nn.Sequential(nn.Linear(values.shape[1], values.shape[0]), nn.ReLU(), nn.Linear(values.shape[0], 2))
    with torch.no_grad():
        module[0].weight.copy_(values)
        module[0].bias.zero_()
    return module


@pytest.mark.parametrize(
    ("structure", "wanted"),
    [
        ("irregular", [3, 4, 0, 0, 0, 0, 5, 12]),
        ("filter", [5, 13]),
        ("column", [3, 4, 5, 12]),
        ("kernel", [3, 4, 0, 0, 0, 0, 5, 12]),
        ("block:1x2", [5, 0, 0, 13]),
        ("block:2x2", [5, 13]),
    ],
)
def test_the_norms_of_a_matrix_by_hand(structure, wanted):
    module = one_layer([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 5.0, 12.0]])
    units = structured(module, (4,), structure)
    assert units.pool(dict(module.named_parameters()))["0.weight"].tolist() == wanted
    assert units.norms(dict(module.named_parameters()))["0.weight"].tolist() == wanted


def test_a_block_at_the_edge_is_what_is_left():
    module = one_layer([[3.0, 4.0, 0.0, 7.0], [0.0, 0.0, 5.0, 2.0], [1.0, 0.0, 0.0, 6.0]])
    pooled = structured(module, (4,), "block:1x3").pool(dict(module.named_parameters()))
    assert pooled["0.weight"].tolist() == [5, 7, 5, 2, 1, 6]


def test_filters_columns_and_kernels_of_a_convolution_by_hand():
    """2 outputs, 2 inputs, kernels of 1 x 2: w[o, i] = [a, b]."""
    module = nn.Sequential(nn.Conv2d(2, 2, (1, 2), bias=False), nn.Flatten(), nn.Linear(4, 2))
    weights = torch.tensor([[[[3.0, 4.0]], [[0.0, 0.0]]], [[[4.0, 3.0]], [[0.0, 12.0]]]])
    named = {"0.weight": weights, "2.weight": torch.ones(2, 4)}

    def pooled(structure):
        return structured(module, (2, 1, 3), structure).pool(named)["0.weight"].tolist()

    assert pooled("filter") == [5, 13]
    assert pooled("kernel") == [5, 0, 5, 12]
    assert pooled("column") == pytest.approx([5, 5, 0, 12])  # (input, position): norms over the outputs


def test_other_powers():
    module = one_layer([[3.0, -4.0], [0.0, -1.0]])
    units = structured(module, (2,), "filter")
    assert units.pool(dict(module.named_parameters()), 1)["0.weight"].tolist() == [7, 1]


def test_autograd_follows_the_norms_and_is_zero_at_a_unit_of_zeros():
    """d‖w‖/dw = w/‖w‖."""
    module = one_layer([[3.0, 4.0], [0.0, 0.0]])
    structured(module, (2,), "filter").norms(dict(module.named_parameters()))["0.weight"].sum().backward()
    assert torch.allclose(module[0].weight.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_two_of_four_along_the_inputs_by_hand():
    module = one_layer([[1.0, -9.0, 8.0, 2.0, 0.1, 0.2, -0.4, 0.3], [4.0, 3.0, 2.0, 1.0, 5.0, 6.0, 7.0, 8.0]])
    mask = masks_by_magnitude(module, (8,), 0.5, "2:4")["0.weight"]
    assert mask.int().tolist() == [[0, 1, 1, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 1, 1]]


def test_n_of_m_runs_along_the_input_channels_of_a_convolution():
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(128, 2))
    mask = masks_by_magnitude(module, SHAPE, 0.5, "2:4")["0.weight"]
    assert (mask.sum(dim=1) == 2).all()


def test_what_reads_fewer_than_m_inputs_stays_whole():
    masks = masks_by_magnitude(build_model("mobilenet_v2", ZOO["mobilenet_v2"], 10, 0), (1, 32, 32), 0.5, "2:4")
    assert masks["features.2.conv.0.0.weight"].float().mean() == 0.5
    assert not {"features.0.0.weight", "features.2.conv.1.0.weight"} & set(masks)


@settings(max_examples=25, deadline=None)
@given(structure=st.sampled_from(STRUCTURES), width=st.sampled_from([4, 8, 12, 16]), seed=st.integers(0, 99))
def test_masks_are_unions_of_whole_units_and_lead_back_to_them(structure, width, seed):
    module = network(width, seed)
    units = structured(module, SHAPE, structure)
    generator = torch_generator(seed, "kept")
    kept = {name: torch.rand(one.size, generator=generator) < 0.6 for name, one in units.sets.items()}
    for value in kept.values():
        value[0] = True  # of coupled channels none is empty
    masks = units.spread(kept, dict(module.named_parameters()))
    found = units.held(masks)
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    again = units.spread(found, dict(module.named_parameters()))
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())
    for name, one in units.sets.items():
        for part in one.parts:
            index = torch.arange(one.size) if part.index is None else part.index
            index = index.view(units.shapes[part.name]) if part.index is None else index.expand(units.shapes[part.name])
            for gone in (~kept[name]).nonzero().flatten():
                assert not masks[part.name][index == gone].any()
            if units.structure not in ("channel", "pattern"):  # there another unit, or the pattern, has a say too
                assert masks[part.name][kept[name][index]].all()


@settings(max_examples=40, deadline=None)
@given(structure=st.sampled_from(GROUPED), density=st.floats(0.1, 1), seed=st.integers(0, 99))
def test_the_density_is_met_within_one_unit(structure, density, seed):
    module = network(8, seed)
    units = structured(module, SHAPE, structure)
    everything = sum(math.prod(shape) for shape in units.prunable.values())
    try:
        counts = counts_of(units, density)
    except UserError as error:
        assert "use that or less" in str(error) or "use at least" in str(error)  # noqa: PT017
        return
    whole = everything - sum(sum(math.prod(shape) for shape in one.weights) for one in units.sets.values())
    kept = whole + sum(counts[name] * one.cost for name, one in units.sets.items())
    assert abs(kept - density * everything) <= max(one.cost for one in units.sets.values()) + 0.5
    assert all(1 <= counts[name] <= one.size for name, one in units.sets.items())
    for chosen in (
        at_random(units, counts, torch_generator(seed)),
        largest(units, units.pool(dict(module.named_parameters())), counts),
    ):
        assert {name: int(value.sum()) for name, value in chosen.items()} == counts


@pytest.mark.parametrize("structure", ["filter", "column", "kernel", "block:1x4", "block:4x4"])
@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_the_zoo_meets_its_density_in_every_structure(name, structure):
    module = build_model(name, ZOO[name], 10, 0)
    masked(module, masks_by_magnitude(module, ZOO[name], 0.2, structure))
    assert total_density(layer_densities(module)) == pytest.approx(0.2, abs=2e-3)


def test_a_projection_keeps_the_largest_units_of_other_tensors():
    module = one_layer([[9.0, 9.0], [0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
    others = {name: torch.zeros_like(value) for name, value in module.named_parameters()}
    others["0.weight"][2] = 1.0
    masks = projected(structured(module, (2,), "filter"), others, 10 / 16)
    assert masks["0.weight"].any(dim=1).tolist() == [False, False, True, False]


def test_filters_take_their_bias_and_norm_and_the_classes_stay():
    module = network()
    units = structured(module, SHAPE, "filter")
    assert list(units.sets) == ["0.weight", "3.weight", "7.weight"]
    assert [part.name for part in units.sets["0.weight"].parts] == ["0.weight", "1.weight", "1.bias"]
    assert [part.name for part in units.sets["3.weight"].parts] == ["3.weight", "3.bias"]


def test_a_filter_takes_the_depthwise_convolution_that_reads_it():
    units = structured(Branches(), (2, 6, 6), "filter")
    assert {part.name for part in units.sets["wide.weight"].parts} >= {"wide.weight", "norm.weight", "depthwise.weight"}
    assert "depthwise.weight" not in units.sets


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "mobilenet_v2"])
def test_filters_are_removed_and_the_answers_stay(name):
    module = as_trained(build_model(name, ZOO[name], 10, 0))
    masked(module, masks_by_magnitude(module, ZOO[name], 0.3, "filter"))
    smaller = as_shipped(module, ZOO[name], "filter")
    x = torch.randn(4, *ZOO[name], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)
    before, after = (sum(weight.numel() for weight in one.parameters()) for one in (module, smaller))
    assert after < 0.4 * before


def test_a_filter_that_answers_half_stays():
    """Its sigmoid makes 0.5 of nothing: the next layer reads that."""
    module = nn.Sequential(
        nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight[:2] = 0
            layer.bias[:2] = 0
    smaller = as_shipped(module, (3,), "filter")
    assert (smaller[0].out_features, smaller[2].out_features) == (4, 2)
    x = torch.randn(5, 3)
    torch.testing.assert_close(smaller(x), module(x))


@pytest.mark.parametrize(
    ("name", "structure", "density", "message"),
    [
        ("lenet5", "pattern", 0.2, r"3x3 convolutions, of which .* has none \(conv1.weight is a convolution of 5x5"),
        ("mlp", "pattern", 0.2, r"fc1.weight is no convolution\): use kernel, column or block:1x4"),
        ("lenet5", "2:4", 0.5, r"conv2.weight reads 6 inputs, which 4 does not divide; use --structure 1:2"),
        ("lenet5", "1:2", 0.2, r"1:2 keeps 0.5 of the weights: leave out --density 0.2, or say --density 0.5"),
        ("lenet5", "block:8x8", 0.2, r"block:8x8 is larger than the matrix of conv1.weight, 6 by 25"),
        ("lenet5", "filter", 0.01, r"one of each layer, as of fc1.weight with 400 weights, is more already; use"),
        ("vgg16", "pattern", 0.9, r"layers keep at most 0\.\d+ of the weights, as features\..*weight \d+ of \d+"),
        ("lenet5", "rows", 0.2, r"unknown structure 'rows' \(known: N:M, block:RxC, channel, column, filter, "),
        ("lenet5", "chanel", 0.2, r"unknown structure 'chanel'; did you mean 'channel'"),
        ("lenet5", "4:2", 0.2, r"keeps 4 of every 2 weights: N must be below M"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said_in_a_line(name, structure, density, message):
    with pytest.raises(UserError, match=message) as told:
        masks_by_magnitude(build_model(name, ZOO[name], 10, 0), ZOO[name], density, structure)
    assert "\n" not in str(told.value)


def test_the_least_and_the_most_that_are_named_can_be_had():
    module, shape = build_model("lenet5", ZOO["lenet5"], 10, 0), ZOO["lenet5"]
    for structure, density, before in (("filter", 0.01, "at least "), ("column", 0.001, "at least ")):
        with pytest.raises(UserError) as told:
            masks_by_magnitude(module, shape, density, structure)
        masks_by_magnitude(module, shape, float(str(told.value).rsplit(before, 1)[1].split()[0]), structure)


def test_single_weights_are_what_they_were():
    """`irregular` keeps ERK's largest weights, whichever way they are counted."""
    module = network()
    masks = masks_by_magnitude(module, SHAPE, 0.3, "irregular")
    assert set(masks) == set(shapes(module))
    for name, mask in masks.items():
        weights = dict(module.named_parameters())[name].detach().abs()
        assert weights[mask].min() >= weights[~mask].max()
