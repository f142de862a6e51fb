"""The smaller module answers as the masked one, and is the one that Torch-Pruning would have cut."""

import copy

import pytest
import torch
import torch_pruning as tp
from networks import ZOO, as_trained, masked
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.sparsity.shrink import shrink
from safedeploy.sparsity.structure import as_shipped, masks_by_magnitude


@pytest.mark.parametrize("name", ZOO)
def test_the_smaller_model_answers_as_the_masked_one(name):
    module = as_trained(build_model(name, ZOO[name], 10, 0))
    masked(module, masks_by_magnitude(module, ZOO[name], 0.3, "channel"))
    smaller = shrink(module, ZOO[name])
    x = torch.randn(4, *ZOO[name], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)
    before, after = (sum(weight.numel() for weight in one.parameters()) for one in (module, smaller))
    assert after < 0.35 * before


def test_it_is_what_torch_pruning_cuts():
    """The same channels of a ResNet-18's first stage and of a block, removed by the reference implementation."""
    shape = ZOO["resnet18"]
    ours = as_trained(build_model("resnet18", shape, 10, 0))
    theirs = copy.deepcopy(ours)
    stream, inner = [1, 5, 40], [0, 63]
    with torch.no_grad():
        for norm in (ours.bn1, ours.layer1[0].bn2, ours.layer1[1].bn2):
            norm.weight[stream] = norm.bias[stream] = 0
        for conv in (ours.conv1, ours.layer1[0].conv2, ours.layer1[1].conv2):
            conv.weight[stream] = 0
        for conv in (ours.layer1[0].conv1, ours.layer1[1].conv1, ours.layer2[0].conv1, ours.layer2[0].downsample[0]):
            conv.weight[:, stream] = 0
        ours.layer1[1].conv1.weight[inner] = ours.layer1[1].bn1.weight[inner] = ours.layer1[1].bn1.bias[inner] = 0
        ours.layer1[1].conv2.weight[:, inner] = 0
    for layer, index in ((theirs.conv1, stream), (theirs.layer1[1].conv1, inner)):
        graph = tp.DependencyGraph().build_dependency(theirs, torch.zeros(1, *shape))
        graph.get_pruning_group(layer, tp.prune_conv_out_channels, index).prune()
    smaller, wanted = shrink(ours, shape).state_dict(), theirs.state_dict()
    assert {name: value.shape for name, value in smaller.items()} == {
        name: value.shape for name, value in wanted.items()
    }
    assert all(torch.equal(smaller[name], wanted[name]) for name in wanted)


def test_layers_know_their_new_sizes():
    module = as_trained(build_model("mobilenet_v2", ZOO["mobilenet_v2"], 10, 0))
    smaller = shrink(
        masked(module, masks_by_magnitude(module, ZOO["mobilenet_v2"], 0.3, "channel")), ZOO["mobilenet_v2"]
    )
    for layer in smaller.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        if isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean.shape == layer.weight.shape == (layer.num_features,)


def test_a_channel_with_anything_left_stays():
    """A unit whose row is zero but whose bias is not answers a constant, which the next layer reads."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight[:2] = 0
        module[0].bias[:2] = torch.tensor([0.0, 1.0])
        module[2].weight[:, 0] = 0
    assert shrink(module, (3,))[0].out_features == 3


def test_one_channel_stays_where_all_are_empty():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        for tensor in (module[0].weight, module[0].bias, module[2].weight):
            tensor.zero_()
    smaller = shrink(module, (3,))
    assert (smaller[0].out_features, smaller[2].in_features) == (1, 1)
    torch.testing.assert_close(smaller(torch.ones(1, 3)), module(torch.ones(1, 3)))


def test_without_empty_channels_it_is_the_same_model_and_a_copy():
    module = as_trained(build_model("lenet5", ZOO["lenet5"], 10, 0))
    smaller = shrink(module, ZOO["lenet5"])
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in smaller.state_dict().items())
    assert smaller.conv1.weight is not module.conv1.weight


class FixedWidth(nn.Module):
    """Its forward holds its first layer's width as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(8, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.first(x) * torch.arange(8.0)))


def test_a_forward_that_fixes_a_width_is_refused_in_a_line():
    module = FixedWidth()
    with pytest.raises(UserError, match="without its empty channels this model fails") as told:
        shrink(masked(module, masks_by_magnitude(module, (3,), 0.7, "channel")), (3,))
    assert "\n" not in str(told.value)


def test_what_ships_has_no_negative_zeros_and_the_trained_module_is_left_alone() -> None:
    """A masked -w is -0.0, another pattern of bits than 0.0."""
    trained = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        trained[0].weight.fill_(-1.0).mul_(torch.tensor([0.0, 1, 0, 1]))
    assert torch.signbit(trained[0].weight).all()
    shipped = as_shipped(trained, (4,), "irregular")
    assert torch.equal(shipped[0].weight, trained[0].weight)
    assert torch.equal(torch.signbit(shipped[0].weight), shipped[0].weight < 0)
    assert torch.signbit(trained[0].weight).all()
