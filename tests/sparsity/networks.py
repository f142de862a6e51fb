"""Networks whose channels hang together in every way there is, with batch norms as if trained."""

import torch
from torch import nn

ZOO = {
    "mlp": (20,),
    "lenet5": (1, 28, 28),
    "alexnet": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "resnet18": (3, 32, 32),
    "mobilenet_v2": (1, 32, 32),
}


def as_trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, scales and shifts drawn at random: a wrong one then shows in the answers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.5, generator=generator)
                layer.running_var.uniform_(0.5, 2, generator=generator)
                layer.weight.normal_(1, 0.2, generator=generator)
                layer.bias.normal_(0, 0.3, generator=generator)
    return module.eval()


def masked(module: nn.Module, masks: dict[str, torch.Tensor]) -> nn.Module:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    return module


class Branches(nn.Module):
    """A residual sum, a concatenation and a depthwise convolution on small images (2, 6, 6), and log-probabilities."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.wide = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.narrow = nn.Conv2d(2 * width, width, 1)
        self.beside = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.hidden = nn.Linear(width * 9, 20)
        self.classifier = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        inner = self.depthwise(self.norm(self.wide(x)).sigmoid()).relu()  # a sigmoid answers 0.5 to an empty channel
        x = x + self.narrow(inner)
        x = self.mix(torch.cat([x, self.beside(x).relu()], dim=1))
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.classifier(self.hidden(x).relu()).log_softmax(1)
