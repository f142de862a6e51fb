"""LeNet-5 (LeCun et al. 1998) as it is used today: ReLU, max pooling, the first convolution padded to keep the size."""

from collections import OrderedDict

from torch import nn

TINY = 16


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """For images (channels, height, width); below 17 pixels the second convolution is padded too."""
    channels, height, width = input_shape
    padding = 2 if min(height, width) <= TINY else 0
    rows, columns = ((side // 2 + 2 * padding - 4) // 2 for side in (height, width))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5, padding=padding),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * rows * columns, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )
