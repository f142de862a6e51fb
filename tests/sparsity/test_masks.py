"""Masks over a module's weights: which, how many, and what is counted at the end."""

import pytest
import torch
from torch import nn

from safedeploy.seeds import torch_generator
from safedeploy.sparsity.masks import (
    largest_masks,
    layer_densities,
    prunable,
    random_masks,
    rescale,
    shapes,
    total_density,
)


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def test_weights_of_linear_convolution_and_embedding_layers_are_prunable():
    module = nn.ModuleDict(
        {"conv": nn.Conv2d(1, 2, 3), "norm": nn.BatchNorm2d(2), "fc": nn.Linear(3, 4), "words": nn.Embedding(7, 3)}
    )
    assert shapes(module) == {"conv.weight": (2, 1, 3, 3), "fc.weight": (4, 3), "words.weight": (7, 3)}


def test_prunable_names_are_the_parameters_own(module):
    parameters = dict(module.named_parameters())
    assert all(parameters[name] is weight for name, weight in prunable(module).items())
    assert list(prunable(nn.Linear(2, 2))) == ["weight"]


def test_random_masks_keep_exact_counts_at_the_seed_s_places(module):
    counts = {"0.weight": 7, "4.weight": 100}
    first, again, other = (random_masks(module, counts, torch_generator(seed, "masks")) for seed in (0, 0, 1))
    assert {name: int(mask.sum()) for name, mask in first.items()} == counts
    assert all(torch.equal(first[name], again[name]) for name in counts)
    assert not torch.equal(first["4.weight"], other["4.weight"])


def test_random_masks_favour_no_place():
    module = nn.Linear(10, 10)
    draws = [random_masks(module, {"weight": 30}, torch_generator(seed, "m"))["weight"] for seed in range(400)]
    assert abs(torch.stack(draws).float().mean(0) - 0.3).max() < 0.1  # four standard errors


def test_largest_masks_keep_the_largest():
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.1, -5.0, 2.0], [0.0, -2.0, 0.3]]))
    mask = largest_masks(module, {"weight": 3})["weight"]
    assert mask.tolist() == [[False, True, True], [False, True, False]]


def test_densities_are_counted_from_the_weights(module):
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].weight.view(-1)[:9] = 1.0
    layers = layer_densities(module)
    counted = [(layer.name, layer.kept, layer.density) for layer in layers]
    assert counted == [("0.weight", 9, 0.25), ("4.weight", 1440, 1.0)]
    assert total_density(layers) == pytest.approx((9 + 1440) / (36 + 1440))


def test_rescaled_sparse_layers_answer_with_the_variance_of_dense_ones():
    torch.manual_seed(0)
    layer = nn.Linear(400, 300, bias=False)
    x = torch.randn(200, 400)
    dense = layer(x).var()
    mask = random_masks(layer, {"weight": 12_000}, torch_generator(0, "m"))  # 10 %
    with torch.no_grad():
        layer.weight.mul_(mask["weight"])
    rescale({"weight": layer.weight}, mask)
    assert layer(x).var().item() == pytest.approx(dense.item(), rel=0.05)
