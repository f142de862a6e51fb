"""MobileNetV2 (Sandler et al. 2018): torchvision's, for small images with its first strides 1 (Liu's pytorch-cifar)."""

from typing import Any

from torch import nn

from safedeploy.models.small import is_small, with_channels, without_inplace
from safedeploy.vision import torchvision

# expansion, channels, repeats, stride
_SMALL = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    small = is_small(input_shape)
    model: Any = torchvision("torchvision.models").MobileNetV2(
        num_classes=classes, inverted_residual_setting=_SMALL if small else None
    )
    if small or input_shape[0] != 3:
        stem = model.features[0]
        stem[0] = with_channels(stem[0], input_shape[0], stride=1 if small else None)
    return without_inplace(model)
