"""Reference models made of normal draws, with everything known: what LiRA assumes, or what it does not."""

import numpy as np

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.references import References
from safedeploy.data.samples import Samples, content_digests


class Table:
    """An artifact of two classes that answers row number i with φ = phi[i]."""

    format, name, classes, input_shape = "onnx", "table", 2, (1,)

    def __init__(self, phi):
        self.phi = phi

    def logits(self, x):
        phi = self.phi[x[:, 0].astype(int)]
        return np.stack([phi, np.zeros_like(phi)], axis=1).astype(np.float32)


def numbered(rows):
    return Samples(np.asarray(rows, dtype=np.float32)[:, None], np.zeros(len(rows), dtype=np.int64))


def halves(count, samples, rng):
    """member (count, samples): models 2j and 2j + 1 hold complementary halves."""
    member = np.zeros((count, samples), dtype=bool)
    for first in range(0, count, 2):
        member[first, rng.permutation(samples)[: samples // 2]] = True
        if first + 1 < count:
            member[first + 1] = ~member[first]
    return member


def phis(member, gain, rng, difficulty=3.0, noise=1.0):
    """φ of each model: the sample's own level, `gain` where the model trained on it, and normal noise."""
    level = rng.normal(scale=difficulty, size=member.shape[1])
    return lambda mine: level + gain * mine + rng.normal(scale=noise, size=mine.shape)


def world(gain, references, samples=800, seed=0, **spread):
    """(artifact, knowledge, targets, member (targets,)): a quarter of the samples is known, three quarters judged."""
    rng = np.random.default_rng(seed)
    member = halves(references, samples, rng)
    make = phis(member, gain, rng, **spread)
    mine = rng.permutation(samples) < samples // 2
    artifact = Table(make(mine).astype(np.float32).astype(np.float64))
    everything = numbered(np.arange(samples))
    shared = References(content_digests(everything.x), everything.y, make(member)[:, :, None], member)
    known = np.arange(samples) < samples // 4
    members, nonmembers = (numbered(np.flatnonzero(known & side)) for side in (mine, ~mine))
    targets = numbered(np.flatnonzero(~known))
    return artifact, Knowledge(members, nonmembers, seed, shared), targets, mine[~known]
