"""Answers of a module over many samples, in batches, leaving its mode as it was."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def predict(module: nn.Module, x: Tensor, batch_size: int = 1024) -> Tensor:
    """Logits (n, classes) in evaluation mode."""
    was_training = module.training
    module.eval()
    answers = torch.cat([module(part) for part in torch.split(x, batch_size)])
    module.train(was_training)
    return answers


def accuracy(module: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((predict(module, x).argmax(1) == y).double().mean())
