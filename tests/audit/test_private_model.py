"""A model trained with differential privacy is never shown to leak more than it may; without the noise it leaks."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import select
from safedeploy.audit.audit import audit
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples
from safedeploy.results import ArtifactInfo

MEMBERS, COLUMNS, CLASSES = 400, 200, 4
STEPS, DELTA, EPSILON = 60, 1e-5, 1.0
INFO = ArtifactInfo(path=str(Path("model.onnx")), sha256="0" * 64, format="onnx", size_bytes=1, zip_bytes=1)


def drawn(count, generator):
    """Inputs that say little of the label: what is learned beyond that is learned by heart."""
    y = np.arange(count) % CLASSES
    x = generator.normal(size=(count, COLUMNS))
    x[np.arange(count), y] += 1.5
    return Samples(x.astype(np.float32), y)


def trained(members, noise, generator):
    """Full-batch gradient descent on softmax regression, each sample's gradient clipped to norm 1, Gaussian noise."""
    weight = np.zeros((COLUMNS, CLASSES))
    onehot = np.eye(CLASSES)[members.y]
    for _ in range(STEPS):
        error = softmax(members.x @ weight, axis=1) - onehot
        norms = np.linalg.norm(members.x, axis=1) * np.linalg.norm(error, axis=1)
        clipped = error / np.maximum(1, norms)[:, None]
        total = members.x.T @ clipped + noise * generator.normal(size=weight.shape)
        weight -= 30 / MEMBERS * total
    return weight


def noise_for(epsilon):
    """ρ-zCDP of STEPS Gaussian mechanisms of sensitivity 1, and ε = ρ + 2√(ρ ln 1/δ) (Bun & Steinke 2016)."""
    root = np.sqrt(np.log(1 / DELTA) + epsilon) - np.sqrt(np.log(1 / DELTA))
    return np.sqrt(STEPS / (2 * root**2))


def evidence(noise, seed):
    generator = np.random.default_rng(seed)
    pool = drawn(2 * MEMBERS, generator)
    order = generator.permutation(2 * MEMBERS)
    inside, outside = (Samples(pool.x[part], pool.y[part]) for part in np.split(order, 2))
    weight = trained(inside, noise, generator)
    halves = [Samples(side.x[part::2], side.y[part::2]) for side in (inside, outside) for part in (0, 1)]
    exam = Exam(Knowledge(halves[0], halves[2], seed), halves[1], halves[3], tuple("abcd"))
    artifact = SimpleNamespace(
        name="model.onnx",
        format="onnx",
        classes=CLASSES,
        input_shape=(COLUMNS,),
        logits=lambda x: (x @ weight).astype(np.float32),
    )
    attacks = select(["loss", "modified-entropy", "boosted", "quantile"])
    return audit(artifact, INFO, exam, budget={"auc": 0.6}, dense="none", attacks=attacks)


@pytest.mark.parametrize("seed", range(3))
def test_no_bound_exceeds_the_epsilon_that_training_guarantees(seed):
    found = evidence(noise_for(EPSILON), seed)
    assert all(attack.epsilon.joint_low <= EPSILON for attack in found.attacks)
    assert found.verdict.outcome != "fail"


def test_the_same_training_without_noise_leaks():
    found = evidence(0.0, 0)
    assert found.verdict.outcome == "fail"
    assert max(attack.epsilon.low for attack in found.attacks) > 0.5
