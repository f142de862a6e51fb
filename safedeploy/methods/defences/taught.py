"""What members are taught by a teacher's answers in place of their labels."""

from torch import Tensor
from torch.nn import functional


def mixed(logits: Tensor, labels: Tensor, weight: float, temperature: float) -> Tensor:
    """weight · softmax(logits / temperature) + (1 − weight) · the label: (n, classes) float32 probabilities.

    logits: a teacher's, (n, classes); labels: (n,) int64 on the same device.
    """
    softened = (logits.float() / temperature).softmax(1)
    return weight * softened + (1 - weight) * functional.one_hot(labels, logits.shape[1]).to(softened.dtype)
