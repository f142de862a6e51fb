"""AlexNet: torchvision's, or for small images the CIFAR variant of Yang's pytorch-classification: one linear layer."""

from typing import Any

from torch import nn

from safedeploy.models.small import features_then_linear, is_small, with_channels, without_empty_pools, without_inplace
from safedeploy.vision import torchvision


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    channels = input_shape[0]
    if is_small(input_shape):
        return features_then_linear(without_empty_pools(_features(channels), min(input_shape[1:])), 256, classes)
    model: Any = torchvision("torchvision.models").alexnet(num_classes=classes)
    if channels != 3:
        model.features[0] = with_channels(model.features[0], channels)
    return without_inplace(model)


def _features(channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, 64, 11, stride=4, padding=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
