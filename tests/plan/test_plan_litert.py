"""Which networks fit XNNPACK's sparse path: MobileNetV2 at its own resolution does, ResNets and VGGs never do."""

import pytest
from torch import nn

from safedeploy.plan.layers import layers_of
from safedeploy.plan.litert import closed_because
from safedeploy.plan.random_model import random_model


def why(module, shape, zeros):
    layers = layers_of(module, shape, "model")
    return closed_because(layers, {layer.name: round((1 - zeros) * layer.weights) for layer in layers})


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("mobilenet_v2", (3, 224, 224), ""),
        ("mobilenet_v2", (3, 32, 32), "its first convolution is 3×3 convolution, stride 1"),
        ("mobilenet_v2", (1, 224, 224), "1 channels in"),
        ("resnet18", (3, 224, 224), "layer1.0.conv1.weight is a 3×3 convolution"),
        ("vgg16", (3, 32, 32), "no 1×1 convolution"),
        ("mlp", (20,), "no 1×1 convolution"),
    ],
)
def test_of_the_zoo(name, shape, said):
    found = why(random_model(name, shape, 10, 0), shape, 0.9)
    assert found.startswith(said) if not said else said in found
    assert bool(found) == bool(said)


def small(**last):
    stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    return nn.Sequential(stem, nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.Conv2d(8, 16, 1, **last))


@pytest.mark.parametrize(("zeros", "closed"), [(0.6, True), (2 / 3, True), (0.7, False)])
def test_more_than_two_thirds_of_zeros_are_asked(zeros, closed):
    assert bool(why(small(), (3, 24, 24), zeros)) == closed


def test_a_strided_or_grouped_1x1_convolution_closes_it():
    assert "stride 2" in why(small(stride=2), (3, 24, 24), 0.9)
    assert why(small(groups=2), (3, 24, 24), 0.9)
