"""The network on everything inside: it finds what is there, nothing where nothing is, from its own seed alone."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.base import Attack, Knowledge
from safedeploy.attacks.membership import nasr
from safedeploy.data.samples import Samples
from safedeploy.roc import auc

ATTACK = Attack("nasr", "white", "safedeploy.attacks.membership.nasr:score", extra="train")


def mlp(seed=0, width=32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 4))


def test_an_overfitted_model_is_caught(made):
    knowledge, members, nonmembers = made.quarters(150)
    model = mlp(width=128)
    x = torch.from_numpy(np.concatenate([knowledge.members.x, members.x]))
    y = torch.from_numpy(np.concatenate([knowledge.members.y, members.y]))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    artifact = TorchArtifact(model.eval(), "m", (6,), 4)
    scores = ATTACK.score(artifact, knowledge, made.together(members, nonmembers))
    assert auc(scores.values[:150], scores.values[150:]) > 0.85


@pytest.mark.slow
def test_no_leak_is_found_where_there_is_none(made):
    found = []
    for seed in range(4):
        knowledge, members, nonmembers = made.quarters(250, seed)
        scores = ATTACK.score(TorchArtifact(mlp(seed), "m", (6,), 4), knowledge, made.together(members, nonmembers))
        found.append(auc(scores.values[:250], scores.values[250:]))
    assert abs(np.mean(found) - 0.5) < 0.04  # three standard errors of four times 250 + 250


def test_the_seed_decides_and_the_global_state_does_not(made):
    knowledge, members, _ = made.quarters(80)
    artifact = TorchArtifact(mlp(), "m", (6,), 4)
    torch.manual_seed(1)
    first = ATTACK.score(artifact, knowledge, members)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = ATTACK.score(artifact, knowledge, members)
    assert torch.equal(torch.get_rng_state(), before)
    other = ATTACK.score(artifact, Knowledge(knowledge.members, knowledge.nonmembers, seed=5), members)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.threshold == again.threshold
    assert not np.array_equal(first.values, other.values)


def test_what_the_network_takes_is_narrow_and_of_the_late_layers(made):
    """Four layers: the two before the last, and a third; 200 columns are projected, 16 are not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 300), nn.Linear(300, 200), nn.Linear(200, 16), nn.Linear(16, 4))
    samples = Samples(np.random.default_rng(0).standard_normal((300, 6), dtype=np.float32), np.arange(300) % 4)
    box = TorchArtifact(model, "m", (6,), 4).unpack()
    logits, labels, penultimate, norms, *outputs = nasr.inputs(box, samples, 0)
    assert [part.shape for part in outputs] == [(300, nasr.WIDEST), (300, nasr.WIDEST), (300, 16)]
    assert (logits.shape, labels.shape, penultimate.shape, norms.shape) == ((300, 4), (300,), (300, 16), (300, 4))


def test_the_projection_keeps_distances():
    """Johnson & Lindenstrauss: the squared distances of 128 directions err by about √(2/128)."""
    values = np.random.default_rng(0).standard_normal((40, 3000), dtype=np.float32)
    found = nasr.project(values, 0)
    before = np.linalg.norm(values[:, None] - values, axis=2)[np.triu_indices(40, 1)]
    after = np.linalg.norm(found[:, None] - found, axis=2)[np.triu_indices(40, 1)]
    ratio = after / before
    assert ratio.std() / ratio.mean() == pytest.approx(np.sqrt(2 / nasr.WIDEST) / 2, rel=0.4)
    np.testing.assert_array_equal(found, nasr.project(values, 0))
