"""Which channels go for a density: hand-worked rankings, and what holds for every network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ZOO, Branches, as_trained, masked
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.sparsity.channels import _left, channel_masks, magnitude, step
from safedeploy.sparsity.coupled import Group, Slot, coupled_channels
from safedeploy.sparsity.masks import layer_densities, prunable, total_density
from safedeploy.sparsity.shrink import shrink


def test_a_channel_s_importance_is_the_norm_of_all_that_goes_with_it():
    """Channel 0: 3² + 4² in the rows, 12² in the column: 13. Channel 1: 0, 1, and 0 in the column: 1."""
    parameters = {"a": torch.tensor([[3.0, 4.0], [0.0, 1.0]]), "b": torch.tensor([[12.0, 0.0]])}
    group = Group("", 2, tuple(Slot("", name, dim, torch.tensor([[0], [1]])) for name, dim in (("a", 0), ("b", 1))))
    assert magnitude(parameters, group).tolist() == [13.0, 1.0]


def test_the_weakest_hidden_units_go():
    """16 units of a 2-16-2 network, strong in order: at half the density the first eight go, rows, bias and columns."""
    module = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.arange(1.0, 17).view(16, 1).expand(16, 2))
        module[0].bias.zero_()
        module[2].weight.fill_(0.01)
    masks = channel_masks(module, (2,), 0.6)
    gone = torch.arange(16) < 8
    assert torch.equal(masks["0.weight"], ~gone.view(16, 1).expand(16, 2))
    assert torch.equal(masks["0.bias"], ~gone)
    assert torch.equal(masks["2.weight"], ~gone.expand(4, 16))
    assert set(masks) == {"0.weight", "0.bias", "2.weight"}


def test_another_importance_chooses_other_channels():
    module = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    backwards = channel_masks(module, (2,), 0.6, lambda parameters, group: torch.arange(16.0, 0, -1))
    assert backwards["0.bias"].tolist() == [True] * 8 + [False] * 8


@pytest.mark.parametrize("density", [0.6, 0.2])
@pytest.mark.parametrize("name", ZOO)
def test_the_density_is_met_from_below_and_one_more_step_would_be_too_much(name, density):
    module = as_trained(build_model(name, ZOO[name], 10, 0))
    sizes = {layer: weight.shape for layer, weight in prunable(module).items()}
    budget = density * sum(shape.numel() for shape in sizes.values())
    masks, groups = channel_masks(module, ZOO[name], density), coupled_channels(module, ZOO[name])
    masked(module, masks)
    assert total_density(layer_densities(module)) <= density
    kept = [int(masks[f"{group.root}.weight"].flatten(1).any(dim=1).sum()) for group in groups]
    for number, group in enumerate(groups):
        if kept[number] < group.channels:
            more = min(group.channels, kept[number] + step(group.channels))
            assert _left(sizes, groups, [*kept[:number], more, *kept[number + 1 :]]) > budget


def test_every_group_keeps_an_eighth_in_whole_steps():
    module = as_trained(build_model("mobilenet_v2", ZOO["mobilenet_v2"], 10, 0))
    masks = channel_masks(module, ZOO["mobilenet_v2"], 0.2)
    for group in coupled_channels(module, ZOO["mobilenet_v2"]):
        mask = masks[f"{group.root}.weight"]
        kept = int(mask.flatten(1).any(dim=1).sum())
        assert kept >= group.channels / 8
        assert kept % step(group.channels) == 0 or kept == group.channels


def test_the_masks_count_what_is_left_when_the_channels_are_gone():
    """The product of a layer's kept rows and columns, against the sizes of the smaller module."""
    module = as_trained(build_model("resnet18", ZOO["resnet18"], 10, 0))
    masks = channel_masks(module, ZOO["resnet18"], 0.2)
    smaller = shrink(masked(module, masks), ZOO["resnet18"])
    sizes = {name: weight.numel() for name, weight in prunable(smaller).items()}
    assert {name: int(masks[name].sum()) if name in masks else sizes[name] for name in sizes} == sizes


@settings(max_examples=25, deadline=None)
@given(width=st.integers(4, 40), density=st.floats(0.3, 0.95), seed=st.integers(0, 99))
def test_for_any_width_and_density_nothing_is_empty_and_the_answers_stay(width, density, seed):
    torch.manual_seed(seed)
    module = as_trained(Branches(width), seed)
    try:
        masks = channel_masks(module, (2, 6, 6), density)
    except UserError as error:
        assert "keeps at least" in str(error)  # noqa: PT017
        return
    masked(module, masks)
    assert total_density(layer_densities(module)) <= density
    smaller = shrink(module, (2, 6, 6))
    assert all(weight.numel() for weight in smaller.parameters())
    x = torch.randn(3, 2, 6, 6)
    torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)


def test_a_density_below_the_floor_is_refused_with_the_least_there_is():
    module = build_model("lenet5", ZOO["lenet5"], 10, 0)
    with pytest.raises(
        UserError, match=r"density 0.01 with whole channels: this model keeps at least (0\.\d+)"
    ) as told:
        channel_masks(module, ZOO["lenet5"], 0.01)
    least = float(str(told.value).split("at least ")[1].split()[0])
    channel_masks(module, ZOO["lenet5"], least)  # and that can be had


def test_a_model_without_removable_channels_is_refused():
    with pytest.raises(UserError, match="no channels that can be removed"):
        channel_masks(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), 0.5)
