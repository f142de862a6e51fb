"""The black-box neural attacker of SafeCompress (Zhu et al. 2022, BMIA): logits and label into a small network.

Of the answers the label's comes first, the others sorted (our reading: `neural.label_first`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import neural
from safedeploy.data.samples import Samples
from safedeploy.seeds import derive


class Network(nn.Module):
    """Logits n→1024→512→64 and one-hot label n→512→64, joined 128→256→64→1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.standardise = neural.Standardise(classes)
        self.logits = neural.layers(classes, 1024, 512, 64)
        self.label = neural.layers(classes, 512, 64)
        self.joined = neural.layers(128, 256, 64, 1, last=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (b, classes), labels (b,) → membership logit (b,)."""
        label = functional.one_hot(labels, self.classes).float()
        answers = self.standardise(neural.label_first(logits, labels))
        both = torch.cat([self.logits(answers), self.label(label)], dim=1)
        answer: Tensor = self.joined(both).squeeze(1)
        return answer

    def fit_scale(self, logits: Tensor, labels: Tensor) -> None:
        self.standardise.fit(neural.label_first(logits, labels))


def make_network(classes: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "neural-black"))
        return Network(classes)


def inputs(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> neural.Inputs:
    return tuple(neural.tensors(logits, labels))


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    members, nonmembers, wanted = (
        inputs(artifact.logits(part.x), part.y) for part in (knowledge.members, knowledge.nonmembers, targets)
    )
    network = make_network(artifact.classes, knowledge.seed)
    network.fit_scale(*(torch.cat([a, b]) for a, b in zip(members, nonmembers, strict=True)))
    threshold = neural.fit(network, members, nonmembers, knowledge.seed)
    return Scores(neural.score(network, wanted), threshold)
