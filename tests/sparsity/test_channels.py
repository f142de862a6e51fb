"""Which channels go for a density: hand-worked rankings, and what holds for every network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ZOO, Branches, as_trained, masked
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.sparsity.channels import _left, step
from safedeploy.sparsity.coupled import coupled_channels
from safedeploy.sparsity.masks import layer_densities, prunable, total_density
from safedeploy.sparsity.shrink import shrink
from safedeploy.sparsity.structure import masks_by_magnitude, projected, structured


def test_a_channel_s_norm_is_that_of_all_that_goes_with_it():
    """Hidden unit 0: 3, 4 in its row, 12 in its column: 13. Unit 1: 0, 1, and 0 in the column: 1."""
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    values = {"0.weight": torch.tensor([[3.0, 4.0], [0.0, 1.0]]), "2.weight": torch.tensor([[12.0, 0.0], [0.0, 0.0]])}
    values["3.weight"] = torch.ones(2, 2)
    units = structured(module, (2,), "channel")
    assert units.pool(values)["0.weight"].tolist() == [13.0, 1.0]


def test_the_weakest_hidden_units_go():
    """16 units of a 2-16-2 network, strong in order: at half the density the first eight go, rows, bias and columns."""
    module = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.arange(1.0, 17).view(16, 1).expand(16, 2))
        module[0].bias.zero_()
        module[2].weight.fill_(0.01)
    masks = masks_by_magnitude(module, (2,), 0.6, "channel")
    gone = torch.arange(16) < 8
    assert torch.equal(masks["0.weight"], ~gone.view(16, 1).expand(16, 2))
    assert torch.equal(masks["0.bias"], ~gone)
    assert torch.equal(masks["2.weight"], ~gone.expand(4, 16))
    assert set(masks) == {"0.weight", "0.bias", "2.weight"}


def test_other_tensors_than_the_weights_choose_other_channels():
    module = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    others = {name: torch.zeros_like(value) for name, value in module.named_parameters()}
    others["0.bias"] = torch.arange(16.0, 0, -1)
    others["2.bias"] = torch.ones(4)
    backwards = projected(structured(module, (2,), "channel"), others, 0.6)
    assert backwards["0.bias"].tolist() == [True] * 8 + [False] * 8


@pytest.mark.parametrize("density", [0.6, 0.2])
@pytest.mark.parametrize("name", ZOO)
def test_the_density_is_met_from_below_and_one_more_step_would_be_too_much(name, density):
    module = as_trained(build_model(name, ZOO[name], 10, 0))
    sizes = {layer: weight.shape for layer, weight in prunable(module).items()}
    budget = density * sum(shape.numel() for shape in sizes.values())
    masks, groups = masks_by_magnitude(module, ZOO[name], density, "channel"), coupled_channels(module, ZOO[name])
    masked(module, masks)
    assert total_density(layer_densities(module)) <= density
    kept = [int(masks[f"{group.root}.weight"].flatten(1).any(dim=1).sum()) for group in groups]
    for number, group in enumerate(groups):
        if kept[number] < group.channels:
            more = min(group.channels, kept[number] + step(group.channels))
            assert _left(sizes, groups, [*kept[:number], more, *kept[number + 1 :]]) > budget


def test_every_group_keeps_an_eighth_in_whole_steps():
    module = as_trained(build_model("mobilenet_v2", ZOO["mobilenet_v2"], 10, 0))
    masks = masks_by_magnitude(module, ZOO["mobilenet_v2"], 0.2, "channel")
    for group in coupled_channels(module, ZOO["mobilenet_v2"]):
        mask = masks[f"{group.root}.weight"]
        kept = int(mask.flatten(1).any(dim=1).sum())
        assert kept >= group.channels / 8
        assert kept % step(group.channels) == 0 or kept == group.channels


def test_the_masks_count_what_is_left_when_the_channels_are_gone():
    """The product of a layer's kept rows and columns, against the sizes of the smaller module."""
    module = as_trained(build_model("resnet18", ZOO["resnet18"], 10, 0))
    masks = masks_by_magnitude(module, ZOO["resnet18"], 0.2, "channel")
    smaller = shrink(masked(module, masks), ZOO["resnet18"])
    sizes = {name: weight.numel() for name, weight in prunable(smaller).items()}
    assert {name: int(masks[name].sum()) if name in masks else sizes[name] for name in sizes} == sizes


@settings(max_examples=25, deadline=None)
@given(width=st.integers(4, 40), density=st.floats(0.3, 0.95), seed=st.integers(0, 99))
def test_for_any_width_and_density_nothing_is_empty_and_the_answers_stay(width, density, seed):
    torch.manual_seed(seed)
    module = as_trained(Branches(width), seed)
    try:
        masks = masks_by_magnitude(module, (2, 6, 6), density, "channel")
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
        masks_by_magnitude(module, ZOO["lenet5"], 0.01, "channel")
    least = float(str(told.value).split("at least ")[1].split()[0])
    masks_by_magnitude(module, ZOO["lenet5"], least, "channel")  # and that can be had


def test_a_model_without_removable_channels_is_refused():
    with pytest.raises(UserError, match="no channels that can be removed"):
        masks_by_magnitude(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), 0.5, "channel")
