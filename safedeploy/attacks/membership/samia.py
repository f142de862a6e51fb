"""SAMIA (Yuan & Zhang 2022, section 5): each class's confidence and sensitivity to noise, and which class is the label,
as the tokens of a small transformer."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import neural
from safedeploy.attacks.membership.fitted import some
from safedeploy.attacks.membership.noise import DEVIATIONS, adding
from safedeploy.attacks.membership.queries import Floats, mean_over_copies
from safedeploy.data.samples import Samples
from safedeploy.roc import auc
from safedeploy.seeds import derive

DRAWS = 10
WIDTH, HEADS = 32, 4
FAINTEST = 1e-6  # below it, sensitivity is rounding
KNOWN = 5000  # samples a side to learn from
TRIED = 200  # samples a side to choose the noise on


class Network(nn.Module):
    """Tokens (classes × 3) → width 32, one encoder layer of 4 heads, the label's token and the mean → 32 → 1."""

    def __init__(self) -> None:
        super().__init__()
        self.standardise = neural.Standardise(2)
        self.embed = nn.Linear(3, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.read = neural.layers(2 * WIDTH, WIDTH, 1, last=True)

    def forward(self, answers: Tensor, labels: Tensor) -> Tensor:
        """answers (b, classes, 2): confidence and sensitivity; labels (b,) → membership logit (b,)."""
        label = nn.functional.one_hot(labels, answers.shape[1]).float()
        tokens = self.encoder(self.embed(torch.cat([self.standardise(answers), label[..., None]], dim=2)))
        own = (tokens * label[..., None]).sum(1)
        answer: Tensor = self.read(torch.cat([own, tokens.mean(1)], dim=1)).squeeze(1)
        return answer

    def fit_scale(self, answers: Tensor) -> None:
        self.standardise.fit(answers.flatten(0, 1))


def make_network(seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "samia"))
        return Network()


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    sides = some(knowledge, KNOWN)
    deviation = choose_noise(artifact, knowledge)
    members, nonmembers, wanted = (
        inputs(artifact, part, deviation, knowledge.seed) for part in (sides.members, sides.nonmembers, targets)
    )
    network = make_network(knowledge.seed)
    network.fit_scale(torch.cat([members[0], nonmembers[0]]))
    threshold = neural.fit(network, members, nonmembers, knowledge.seed)
    return Scores(neural.score(network, wanted), threshold)


def inputs(artifact: Artifact, samples: Samples, deviation: float, seed: int) -> neural.Inputs:
    """(answers (n, classes, 2), labels (n,)): the logarithms of each class's confidence and sensitivity."""
    confidence = log_softmax(artifact.logits(samples.x).astype(np.float64), axis=1)
    felt = np.log(sensitivity(artifact, samples.x, deviation, seed) + FAINTEST)
    return tuple(neural.tensors(np.stack([np.maximum(confidence, -30), felt], axis=2).astype(np.float32), samples.y))


def sensitivity(artifact: Artifact, x: Array, deviation: float, seed: int) -> Floats:
    """(n, classes): how much each class's probability moves under Gaussian noise, over its deviation; mean of draws."""
    before = softmax(artifact.logits(x).astype(np.float64), axis=1)
    changes = [adding(deviation, seed, draw) for draw in range(DRAWS)]

    def read(logits: Array, rows: slice) -> Floats:
        return np.asarray(np.abs(softmax(logits.astype(np.float64), axis=1) - before[rows]) / deviation)

    return mean_over_copies(artifact, x, changes, read)


def choose_noise(artifact: Artifact, knowledge: Knowledge) -> float:
    """The deviation, in units of the input, at which sensitivity alone tells known members best from the others.

    No fixed one serves every file: what float32 feels is lost between the steps of an int8 input, and where a step
    lies is written in an ONNX file alone. So it is found by asking.
    """
    few = some(knowledge, TRIED)
    spread = float(np.concatenate([few.members.x, few.nonmembers.x]).std()) or 1.0
    found = []
    for part in DEVIATIONS:
        sides = [
            sensitivity(artifact, side.x, part * spread, knowledge.seed).sum(1)
            for side in (few.members, few.nonmembers)
        ]
        found.append(abs(auc(*sides) - 0.5))
    return DEVIATIONS[int(np.argmax(found))] * spread
