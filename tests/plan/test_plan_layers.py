"""Layers, weights and work, held against counts worked by hand and torchvision's own."""

import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.plan.layers import layers_of, other_values
from safedeploy.plan.random_model import random_model
from safedeploy.vision import torchvision


def test_lenet5_by_hand():
    layers = layers_of(random_model("lenet5", (1, 28, 28), 10, 0), (1, 28, 28), "lenet5")
    assert {layer.name: layer.macs for layer in layers} == {
        "conv1.weight": 6 * 25 * 28 * 28,
        "conv2.weight": 16 * 6 * 25 * 10 * 10,
        "fc1.weight": 400 * 120,
        "fc2.weight": 120 * 84,
        "fc3.weight": 84 * 10,
    }
    assert [layer.title for layer in layers] == ["5×5 convolution"] * 2 + ["linear"] * 3
    assert layers[0].output == (6, 28, 28)


@pytest.mark.parametrize(
    ("name", "weights"), [("mobilenet_v2", "MobileNet_V2_Weights"), ("resnet18", "ResNet18_Weights")]
)
def test_work_and_numbers_are_those_torchvision_publishes(name, weights):
    """torchvision's `_ops` are billions of multiply-accumulates at 224 × 224."""
    published = getattr(torchvision("torchvision.models"), weights).IMAGENET1K_V1.meta
    module = random_model(name, (3, 224, 224), 1000, 0)
    layers = layers_of(module, (3, 224, 224), name)
    assert sum(layer.macs for layer in layers) / 1e9 == pytest.approx(published["_ops"], rel=0.01)
    norms = sum(part.num_features for part in module.modules() if isinstance(part, nn.BatchNorm2d))
    counted = sum(layer.weights for layer in layers) + other_values(module, layers)
    assert (
        counted + norms == published["num_params"]
    )  # a norm's scale is folded into the layer before it, its shift stays


def test_a_layer_called_twice_works_twice_and_one_never_called_does_not():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.idle = nn.Linear(4, 4, bias=False), nn.Linear(4, 2)

        def forward(self, x):
            return self.shared(self.shared(x))

    shared, idle = layers_of(Twice(), (4,), "twice")
    assert (shared.macs, idle.macs, idle.output) == (32, 0, ())


def test_depthwise_grouped_and_embedding_layers_are_told_apart():
    module = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.Conv2d(4, 8, (1, 3), groups=2), nn.Conv2d(8, 2, 1)
    )
    layers = layers_of(module, (4, 6, 6), "mixed")
    assert [layer.title for layer in layers] == ["3×3 depthwise", "1×3 convolution", "1×1 convolution"]
    assert layers[0].macs == 4 * 9 * 36
    words = nn.Sequential(nn.Embedding(50, 8))

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = words[0], nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.table(x.long()).mean(1))

    table, head = layers_of(Words(), (5,), "words")
    assert (table.kind, table.macs, head.macs) == ("embedding", 0, 16)


def test_an_input_that_does_not_fit_is_named_and_nothing_is_left_on_the_module():
    module = nn.Sequential(nn.Linear(4, 2)).train()
    with pytest.raises(UserError, match=r"--input 5 does not fit my model: ") as caught:
        layers_of(module, (5,), "my model")
    assert "\n" not in str(caught.value)
    assert module.training
    assert not module[0]._forward_hooks


def test_a_model_without_weights_to_prune_is_refused():
    with pytest.raises(UserError, match="nothing to plan"):
        layers_of(nn.Sequential(nn.Flatten()), (3, 4, 4), "flat")


def test_the_random_model_has_norms_as_if_trained_and_depends_on_its_seed_alone():
    torch.manual_seed(1)
    one = random_model("mobilenet_v2", (3, 32, 32), 10, 0)
    torch.manual_seed(2)
    other = random_model("mobilenet_v2", (3, 32, 32), 10, 0)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    norms = [part for part in one.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len({norm.bias.detach().numpy().tobytes() for norm in norms}) == len(norms)
