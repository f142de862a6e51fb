"""A fully connected network, 256 and 128 hidden units with ReLU, for tables and, flattened, for images."""

from collections import OrderedDict
from math import prod

from torch import nn


def build(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(prod(input_shape), 256),
            relu1=nn.ReLU(),
            fc2=nn.Linear(256, 128),
            relu2=nn.ReLU(),
            fc3=nn.Linear(128, classes),
        )
    )
