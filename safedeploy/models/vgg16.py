"""VGG-16 with batch normalisation: torchvision's, or for small images its convolutions and one linear layer."""

from torch import nn

from safedeploy.models.small import features_then_linear, is_small, with_channels, without_empty_pools, without_inplace
from safedeploy.vision import torchvision


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    vgg = torchvision("torchvision.models.vgg")
    features = vgg.make_layers(vgg.cfgs["D"], batch_norm=True)
    if input_shape[0] != 3:
        features[0] = with_channels(features[0], input_shape[0])
    if is_small(input_shape):
        return without_inplace(features_then_linear(without_empty_pools(features, min(input_shape[1:])), 512, classes))
    return without_inplace(vgg.VGG(features, num_classes=classes))
