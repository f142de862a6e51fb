"""What the small-image variants of the CIFAR literature share, and what makes torchvision's models hookable."""

from collections import OrderedDict
from collections.abc import Iterable

from torch import nn

SMALL = 64


def is_small(input_shape: tuple[int, ...]) -> bool:
    """Whether an image (channels, height, width) gets the small-image stem."""
    return min(input_shape[1:]) <= SMALL


def features_then_linear(features: Iterable[nn.Module], width: int, classes: int) -> nn.Sequential:
    """`features` (n, width, h, w), averaged over space, then one linear layer."""
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(width, classes),
        )
    )


def without_empty_pools(features: Iterable[nn.Module], side: int) -> list[nn.Module]:
    """`features` less the 2 × 2 pools that would leave nothing of an image whose smaller side is `side` pixels."""
    kept = []
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            if side < 2:
                continue
            side //= 2
        elif isinstance(module, nn.Conv2d):
            (kernel, _), (stride, _) = module.kernel_size, module.stride
            side = (side + 2 * int(module.padding[0]) - kernel) // stride + 1
        kept.append(module)
    return kept


def with_channels(conv: nn.Conv2d, channels: int, stride: int | None = None) -> nn.Conv2d:
    """A fresh convolution like `conv` for another number of input channels, and perhaps another stride."""
    return nn.Conv2d(
        channels,
        conv.out_channels,
        kernel_size=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=stride or (conv.stride[0], conv.stride[1]),
        padding=(int(conv.padding[0]), int(conv.padding[1])),
        bias=conv.bias is not None,
    )


def without_inplace(model: nn.Module) -> nn.Module:
    """`model`, its activations no longer overwriting what a hook on the layer before has kept."""
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.Dropout):
            module.inplace = False
    return model
