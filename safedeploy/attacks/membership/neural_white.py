"""The white-box neural attacker of SafeCompress (Zhu et al. 2022, WMIA; after Nasr et al. 2019)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Artifact, Features
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import neural
from safedeploy.data.samples import Samples
from safedeploy.seeds import derive

CHANNELS = 4  # of the gradient's convolution: the papers do not say


class Network(nn.Module):
    """Branches: logits n→128→64, loss 1→128→64, label n→128→64, and the last layer's gradient (classes × features)
    through Conv 5×5, pool, →256→128→64; encoder 256→256→128→64→1 with dropout 0.2."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.classes = classes
        self.standardise = neural.Standardise(classes + 1)
        self.standardise_features = neural.Standardise(features, centre=False)
        self.logits = neural.layers(classes, 128, 64)
        self.loss = neural.layers(1, 128, 64)
        self.label = neural.layers(classes, 128, 64)
        self.convolution = nn.Conv2d(1, CHANNELS, 5, padding=2)
        self.gradient = neural.layers(CHANNELS * -(-classes // 2) * -(-features // 2), 256, 128, 64)
        self.encoder = neural.layers(256, 256, 128, 64, 1, last=True, dropout=0.2)

    def forward(self, logits: Tensor, labels: Tensor, penultimate: Tensor) -> Tensor:
        """logits (b, classes), labels (b,), penultimate (b, features) → membership logit (b,)."""
        label = functional.one_hot(labels, self.classes).float()
        loss = functional.cross_entropy(logits, labels, reduction="none")
        plain = self.standardise(torch.cat([neural.label_first(logits, labels), loss[:, None]], dim=1))
        error, features = logits.softmax(1) - label, self.standardise_features(penultimate)
        branches = [
            self.logits(plain[:, :-1]),
            self.loss(plain[:, -1:]),
            self.label(label),
            self.gradient(pooled_convolution(error, features, self.convolution)),
        ]
        answer: Tensor = self.encoder(torch.cat(branches, dim=1)).squeeze(1)
        return answer

    def fit_scale(self, logits: Tensor, labels: Tensor, penultimate: Tensor) -> None:
        loss = functional.cross_entropy(logits, labels, reduction="none")
        self.standardise.fit(torch.cat([neural.label_first(logits, labels), loss[:, None]], dim=1))
        self.standardise_features.fit(penultimate)


def pooled_convolution(error: Tensor, features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolution, ReLU and 2×2 max pooling (ceil mode) of the last layer's gradient images, without making the images.

    ∂ cross-entropy / ∂ W of the last linear layer is error ⊗ features, exactly: error = p − onehot (b, classes),
    features (b, d). A convolution of an outer product is one along the features for each kernel row, then a product
    with the shifted errors: a fifth of the multiplications. Maximum commutes with adding the bias and with ReLU, which
    so have a quarter of the work. Returns (b, channels · ⌈classes/2⌉ · ⌈d/2⌉).
    """
    kernel = convolution.weight[:, 0]  # (channels, rows, columns)
    channels, rows, columns = kernel.shape
    along = functional.conv1d(features[:, None], kernel.reshape(-1, 1, columns), padding=columns // 2)
    shifted = functional.pad(error, (rows // 2, rows // 2)).unfold(1, rows, 1)  # (b, classes, rows)
    images = shifted[:, None] @ along.view(len(features), channels, rows, -1)
    pooled = functional.max_pool2d(images, 2, ceil_mode=True)
    assert convolution.bias is not None
    return (pooled + convolution.bias[:, None, None]).relu().flatten(1)


def make_network(classes: int, features: int, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "neural-white"))
        return Network(classes, features)


def inputs(features: Features, labels: NDArray[np.int64]) -> neural.Inputs:
    return tuple(neural.tensors(features.logits, labels, features.penultimate))


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    box = artifact.unpack()
    members, nonmembers, wanted = (
        inputs(box.features(part.x), part.y) for part in (knowledge.members, knowledge.nonmembers, targets)
    )
    network = make_network(artifact.classes, members[2].shape[1], knowledge.seed)
    network.fit_scale(*(torch.cat([a, b]) for a, b in zip(members, nonmembers, strict=True)))
    threshold = neural.fit(network, members, nonmembers, knowledge.seed)
    return Scores(neural.score(network, wanted), threshold)
