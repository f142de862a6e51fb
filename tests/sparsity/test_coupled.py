"""Channels that live and die together, against the architectures' own drawings."""

import pytest
import torch
from networks import ZOO, Branches
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.sparsity.coupled import coupled_channels


def slots(groups, root):
    (group,) = [group for group in groups if root in {slot.layer for slot in group.slots if slot.dim == 0}]
    return {(slot.name, slot.dim) for slot in group.slots}


def zoo(name):
    return coupled_channels(build_model(name, ZOO[name], 10, 0), ZOO[name])


def test_the_residual_stream_of_a_stage_is_one_group():
    """ResNet-18's first stage: the stem and both blocks' second convolutions add up; three convolutions read it."""
    found = slots(zoo("resnet18"), "layer1.0.conv2")
    written = {("conv1", "bn1"), ("layer1.0.conv2", "layer1.0.bn2"), ("layer1.1.conv2", "layer1.1.bn2")}
    read = ("layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.0.downsample.0")
    wanted = {(f"{conv}.weight", 0) for conv, _ in written} | {(f"{conv}.weight", 1) for conv in read}
    for _, norm in written:
        wanted |= {(f"{norm}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")}
    assert found == wanted


def test_a_depthwise_convolution_has_the_channels_it_reads():
    found = slots(zoo("mobilenet_v2"), "features.2.conv.0.0")
    convolutions = {entry for entry in found if entry[0].split(".")[-2:] in (["0", "weight"], ["2", "weight"])}
    assert convolutions == {
        ("features.2.conv.0.0.weight", 0),  # expands
        ("features.2.conv.1.0.weight", 0),  # depthwise
        ("features.2.conv.2.weight", 1),  # projects
    }


def test_flattened_channels_are_as_many_columns_as_their_pixels():
    """LeNet-5 flattens 16 channels of 5 × 5: channel c is columns 25c to 25c + 24 of fc1."""
    (group,) = [group for group in zoo("lenet5") if group.root == "conv2"]
    (columns,) = [slot.places for slot in group.slots if slot.name == "fc1.weight"]
    assert torch.equal(columns.sort(dim=1).values, torch.arange(400).view(16, 25))


@pytest.mark.parametrize("name", ZOO)
def test_what_the_classifier_answers_and_reads_stays_whole(name):
    module = build_model(name, ZOO[name], 10, 0)
    last = [layer for layer, part in module.named_modules() if isinstance(part, nn.Linear)][-1]
    assert last not in {slot.layer for group in coupled_channels(module, ZOO[name]) for slot in group.slots}


def test_behind_a_log_softmax_the_classifier_is_still_the_classifier():
    named = {slot.layer for group in coupled_channels(Branches(), (2, 6, 6)) for slot in group.slots}
    assert "classifier" not in named
    assert {"stem", "wide", "norm", "depthwise", "narrow", "beside", "mix", "hidden"} == named


def test_grouped_convolutions_and_layer_norms_keep_their_channels():
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 6, 1), nn.Flatten(),
        nn.Linear(6 * 16, 12), nn.LayerNorm(12), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5), nn.Linear(5, 2),
    )  # fmt: skip
    assert {group.root for group in coupled_channels(module, (1, 8, 8))} == {"2", "6"}


def test_the_module_is_left_as_it_was():
    module = build_model("resnet18", ZOO["resnet18"], 10, 0).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.requires_grad_(False)
    coupled_channels(module, ZOO["resnet18"])
    assert module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_forward_that_fails_is_told_in_a_line():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no such thing\nas this")

    with pytest.raises(UserError, match=r"cannot be followed \(no such thing\)$"):
        coupled_channels(Broken(), (3,))
