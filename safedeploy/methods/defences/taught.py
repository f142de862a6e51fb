"""What members are taught by a teacher's answers in place of their labels."""

from torch import Tensor
from torch.nn import functional

from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class Taught(Hooks):
    """targets: (n, classes) probabilities of the members, on their device."""

    def __init__(self, targets: Tensor, weight_decay: float) -> None:
        self.targets, self.weight_decay = targets, weight_decay

    def begin(self, training: Training) -> None:
        training.targets = self.targets


def mixed(logits: Tensor, labels: Tensor, weight: float, temperature: float) -> Tensor:
    """weight · softmax(logits / temperature) + (1 − weight) · the label: (n, classes) float32 probabilities.

    logits: a teacher's, (n, classes); labels: (n,) int64 on the same device.
    """
    softened = (logits.float() / temperature).softmax(1)
    return weight * softened + (1 - weight) * functional.one_hot(labels, logits.shape[1]).to(softened.dtype)
