"""ResNet-18 (He et al. 2016): torchvision's, for small images with a 3 × 3 first convolution and no max pool."""

from typing import Any

import torch
from torch import nn

from safedeploy.models.small import is_small, with_channels, without_inplace
from safedeploy.vision import torchvision

_resnet: Any = torchvision("torchvision.models.resnet")


class Block(_resnet.BasicBlock):  # type: ignore[misc]
    """torchvision's block, adding the shortcut out of place: the in-place sum breaks backward hooks on `bn2`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        result: torch.Tensor = self.relu(out + shortcut)
        return result


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    model: Any = _resnet.ResNet(Block, [2, 2, 2, 2], num_classes=classes)
    channels = input_shape[0]
    if is_small(input_shape):
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != 3:
        model.conv1 = with_channels(model.conv1, channels)
    return without_inplace(model)
