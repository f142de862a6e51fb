"""Class-representative inversion: slopes against autograd and calculus, and what the ascent finds."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.inversion import gradient
from safedeploy.attacks.inversion.ascent import invert
from safedeploy.attacks.inversion.prior import prior
from safedeploy.data.samples import Samples


def knowledge(shape, count=200, seed=0, scale=1.0):
    x = scale * np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
    side = Samples(x, np.arange(count) % 3)
    return Knowledge(side, side)


def linear(columns, classes=3, seed=1):
    weight = np.random.default_rng(seed).normal(size=(columns, classes))
    artifact = SimpleNamespace(logits=lambda x: (x.reshape(len(x), -1) @ weight).astype(np.float32), classes=classes)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(columns, classes, bias=False))
    module[1].weight.data = torch.tensor(weight.T, dtype=torch.float32)
    return artifact, module, weight


def cosine(a, b):
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_score_is_the_logit_of_the_class():
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    p = softmax(logits.astype(np.float64), axis=1)
    assert expit(gradient.scores(logits, 3)) == pytest.approx(p[:, 3])
    assert gradient.scores(np.array([[100.0, 0.0, 0.0]], dtype=np.float32), 0) == pytest.approx(100 - np.log(2))
    assert gradient.scores(logits, 0) == pytest.approx(logit(p[:, 0]))


def test_two_linear_classes_have_the_slope_of_their_difference_everywhere():
    """φ₀ = (w₀ − w₁) · x exactly, so that averaging and differences cost nothing."""
    artifact, module, weight = linear(5, classes=2)
    before = prior(knowledge((5,), scale=2.0))
    x = np.zeros((2, 5))
    wanted = before.deviation * (weight[:, 0] - weight[:, 1])
    assert gradient.exact(module, before, 0)(x, 0)[0] == pytest.approx(wanted, rel=1e-4)
    many = gradient.estimated(artifact, before, 0, pairs=20_000)(x, 0)
    assert many[0] == pytest.approx(wanted, abs=0.05 * np.abs(wanted).max())
    assert many[1] == pytest.approx(-many[0], rel=1e-4)


@pytest.mark.parametrize("shape", [(12,), (1, 6, 6), (3, 6, 6)])
def test_the_estimate_from_answers_points_where_autograd_does(shape):
    """Stein's lemma: slopes in noisy directions average to the noise's covariance times the averaged gradient."""
    torch.manual_seed(0)
    size = int(np.prod(shape))
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(size, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)
    ).eval()
    artifact = SimpleNamespace(logits=lambda x: module(torch.from_numpy(x)).detach().numpy(), classes=3)
    before = prior(knowledge(shape))
    x = np.zeros((3, *shape))
    exact = np.mean([gradient.exact(module, before, 0)(x, step) for step in range(50)], axis=0)
    found = gradient.estimated(artifact, before, 0, pairs=4000)(x, 0)
    for label in range(3):
        assert cosine(found[label], exact[label]) > 0.95


def test_images_are_smoothed_and_tables_are_not():
    for shape, alike in (((1, 9, 9), True), ((9, 9), False), ((81,), False)):
        before = prior(knowledge(shape))
        assert before.image is alike
        noise = before.noise((50, *shape), np.random.default_rng(0))
        assert noise.std() == pytest.approx(1)
        neighbours = np.corrcoef(noise[..., :-1].ravel(), noise[..., 1:].ravel())[0, 1]
        assert bool(neighbours > 0.8) is alike


def test_the_prior_is_the_known_samples_without_their_labels():
    known = knowledge((4,), scale=3.0)
    before = prior(known)
    assert before.mean == pytest.approx(known.members.x.mean(axis=0), abs=1e-5)
    assert before.low == pytest.approx(known.members.x.min(axis=0))
    assert before.inputs(np.zeros((1, 4))).dtype == np.float32
    assert before.inputs(np.ones((1, 4)))[0] == pytest.approx(before.mean + before.deviation, rel=1e-5)


def test_a_column_that_never_varies_stays_where_it_is():
    known = knowledge((4,))
    known.members.x[:, 2] = known.nonmembers.x[:, 2] = 7
    artifact, _, _ = linear(4)
    before = prior(known)
    assert invert(gradient.estimated(artifact, before, 0), before, 3, steps=20)[:, 2] == pytest.approx(7)


@pytest.mark.parametrize("way", ["estimated", "exact"])
def test_the_ascent_ends_in_its_class_and_inside_the_range(way):
    artifact, module, weight = linear(8)
    before = prior(knowledge((8,)))
    slope = gradient.estimated(artifact, before, 0) if way == "estimated" else gradient.exact(module, before, 0)
    seen: list[float] = []
    found = invert(slope, before, 3, steps=60, progress=seen.append)
    assert found.shape == (3, 8)
    assert found.dtype == np.float32
    assert (found >= before.low - 1e-5).all()
    assert (found <= before.high + 1e-5).all()
    assert artifact.logits(found).argmax(axis=1).tolist() == [0, 1, 2]
    for label in range(3):
        others = np.delete(np.arange(3), label)
        assert cosine(found[label] - before.mean, weight[:, label] - weight[:, others].mean(axis=1)) > 0.8
    assert (len(seen), seen[-1]) == (60, 1)


def test_the_scale_of_the_answers_does_not_matter():
    artifact, _, _ = linear(8, classes=2)
    louder = SimpleNamespace(logits=lambda x: 8 * artifact.logits(x), classes=2)
    before = prior(knowledge((8,)))
    one, two = (invert(gradient.estimated(file, before, 0), before, 2, steps=30) for file in (artifact, louder))
    assert one == pytest.approx(two, abs=1e-4)


def test_a_file_that_says_the_same_of_everything_leaves_the_average():
    before = prior(knowledge((5,)))
    flat = SimpleNamespace(logits=lambda x: np.ones((len(x), 3), dtype=np.float32), classes=3)
    found = invert(gradient.estimated(flat, before, 0), before, 3, steps=10)
    assert found == pytest.approx(np.tile(before.mean, (3, 1)), abs=1e-6)


def test_the_seed_decides_what_is_asked():
    artifact, _, _ = linear(5)
    before = prior(knowledge((5,)))
    same, again, other = (invert(gradient.estimated(artifact, before, seed), before, 3, steps=3) for seed in (1, 1, 2))
    assert (same == again).all()
    assert (same != other).any()
