"""White box: a network on everything the model shows of a sample, layer by layer (Nasr et al. 2019, section III).

Their attacker sees each layer's output and gradient, the loss and the label. Here a layer's gradient is its norm, which
is exact for every layer; the last layer's gradient is whole; outputs are those of the late layers, which leak most
(their table VIII), and wide ones are projected at random (Johnson & Lindenstrauss 1984).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Artifact, WhiteBox
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import neural
from safedeploy.attacks.membership.gradient_norm import BATCH, SMALLEST
from safedeploy.attacks.membership.neural_white import CHANNELS, pooled_convolution
from safedeploy.data.samples import Samples
from safedeploy.seeds import derive, numpy_generator

LATE = 3  # layers whose outputs are looked at, before the last
WIDEST = 128  # columns of a layer's output

Array = NDArray[np.float32]


class Network(nn.Module):
    """A branch of width 64 for the logits, the loss, the label, the last layer's gradient, each of `outputs` (widths of
    late layers), and the `norms` of every layer; an encoder 256→128→64→1 with dropout 0.2 over all of them."""

    def __init__(self, classes: int, features: int, outputs: tuple[int, ...], norms: int) -> None:
        super().__init__()
        self.classes = classes
        self.standardise = neural.Standardise(classes + 1 + norms + sum(outputs))
        self.standardise_features = neural.Standardise(features, centre=False)
        self.plain = nn.ModuleList(neural.layers(width, 128, 64) for width in (classes, 1, norms, *outputs))
        self.label = neural.layers(classes, 128, 64)
        self.convolution = nn.Conv2d(1, CHANNELS, 5, padding=2)
        self.gradient = neural.layers(CHANNELS * -(-classes // 2) * -(-features // 2), 256, 128, 64)
        self.encoder = neural.layers(64 * (len(self.plain) + 2), 256, 128, 64, 1, last=True, dropout=0.2)
        self.widths = [classes, 1, norms, *outputs]

    def forward(self, logits: Tensor, labels: Tensor, penultimate: Tensor, norms: Tensor, *outputs: Tensor) -> Tensor:
        """logits (b, classes), labels (b,), penultimate (b, features), norms (b, L), outputs → logit (b,)."""
        label = functional.one_hot(labels, self.classes).float()
        parts = self.standardise(_plain(logits, labels, norms, *outputs)).split(self.widths, dim=1)
        error, features = logits.softmax(1) - label, self.standardise_features(penultimate)
        branches = [branch(part) for branch, part in zip(self.plain, parts, strict=True)]
        branches += [self.label(label), self.gradient(pooled_convolution(error, features, self.convolution))]
        answer: Tensor = self.encoder(torch.cat(branches, dim=1)).squeeze(1)
        return answer

    def fit_scale(self, logits: Tensor, labels: Tensor, penultimate: Tensor, norms: Tensor, *outputs: Tensor) -> None:
        self.standardise.fit(_plain(logits, labels, norms, *outputs))
        self.standardise_features.fit(penultimate)


def _plain(logits: Tensor, labels: Tensor, norms: Tensor, *outputs: Tensor) -> Tensor:
    loss = functional.cross_entropy(logits, labels, reduction="none")
    return torch.cat([logits, loss[:, None], norms, *outputs], dim=1)


def inputs(box: WhiteBox, samples: Samples, seed: int) -> neural.Inputs:
    """What the network takes of `samples`, in batches: of a batch's activations only their projections are kept."""
    features = box.features(samples.x)
    batches = []
    for start in range(0, len(samples.y), BATCH):
        rows = slice(start, start + BATCH)
        inner = box.inner(samples.x[rows], samples.y[rows])
        norms = np.log(np.maximum(inner.gradient_norms, SMALLEST)).astype(np.float32)
        late = list(zip(inner.layers, inner.activations, strict=True))[-1 - LATE : -1]
        outputs = [project(values, derive(seed, name)) for name, values in late if values.shape[1]]
        batches.append((norms, *outputs))
    columns = (np.concatenate(column) for column in zip(*batches, strict=True))
    return tuple(neural.tensors(features.logits, samples.y, features.penultimate, *columns))


def project(values: Array, seed: int) -> Array:
    """(n, d) as it is, or where wider on WIDEST random directions, which keep distances."""
    columns = values.shape[1]
    if columns <= WIDEST:
        return values
    directions = numpy_generator(seed, "projection").standard_normal((columns, WIDEST), dtype=np.float32)
    return values @ directions / np.float32(np.sqrt(columns))


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    box = artifact.unpack()
    members, nonmembers, wanted = (
        inputs(box, part, knowledge.seed) for part in (knowledge.members, knowledge.nonmembers, targets)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(knowledge.seed, "nasr"))
        outputs = tuple(part.shape[1] for part in members[4:])
        network = Network(artifact.classes, members[2].shape[1], outputs, members[3].shape[1])
    network.fit_scale(*(torch.cat([a, b]) for a, b in zip(members, nonmembers, strict=True)))
    threshold = neural.fit(network, members, nonmembers, knowledge.seed)
    return Scores(neural.score(network, wanted), threshold)
