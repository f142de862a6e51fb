"""HopSkipJump against boundaries whose distance is known: planes, spheres, files in int8; from labels alone."""

import tracemalloc

import numpy as np
import pytest

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import boundary_distance
from safedeploy.attacks.membership.boundary_distance import signed_distance
from safedeploy.data.samples import Samples
from safedeploy.roc import auc


class Counted:
    """An artifact of `answer` that knows how often it was asked, and answers nothing but one-hot labels."""

    format, name = "onnx", "counted"

    def __init__(self, answer, classes, input_shape):
        self.answer, self.classes, self.input_shape, self.asked = answer, classes, input_shape, 0

    def logits(self, x):
        assert x.dtype == np.float32
        self.asked += len(x)
        return np.eye(self.classes, dtype=np.float32)[self.answer(x).argmax(axis=1)]


def answered(artifact, x):
    """Starts: inputs with the artifact's own answers."""
    return Samples(x, artifact.logits(x).argmax(axis=1))


def normal(count, columns, seed):
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


@pytest.mark.parametrize(("columns", "queries", "tolerance"), [(2, 300, 1.01), (6, 1000, 1.02), (20, 1000, 1.04)])
def test_it_converges_to_the_distance_from_a_plane(columns, queries, tolerance):
    weight = normal(columns, 2, 0)
    artifact = Counted(lambda x: x @ weight, 2, (columns,))
    x, y = normal(100, columns, 1), np.arange(100) % 2
    difference = weight[:, 1] - weight[:, 0]
    true = np.where(y == 1, 1, -1) * (x @ difference) / np.linalg.norm(difference)
    found = signed_distance(artifact, Samples(x, y), answered(artifact, normal(200, columns, 2)), 0, queries)
    ratio = found / true  # also says that the signs agree
    assert ratio.min() > 1 - 1e-3
    assert np.quantile(ratio, 0.9) < tolerance


def test_more_queries_bring_it_closer_and_never_below():
    weight = normal(100, 2, 0)
    artifact = Counted(lambda x: x @ weight, 2, (100,))
    x, y = normal(60, 100, 1), np.zeros(60, dtype=np.int64)
    difference = weight[:, 0] - weight[:, 1]
    true = np.abs(x @ difference) / np.linalg.norm(difference)
    starts = answered(artifact, normal(200, 100, 2))
    excess = [
        np.median(np.abs(signed_distance(artifact, Samples(x, y), starts, 0, queries)) / true)
        for queries in (30, 250, 1000, 3000)
    ]
    assert excess[0] > excess[1] > excess[2] > excess[3] > 1
    assert excess[3] < 1.06


def test_it_finds_the_distance_from_a_sphere():
    """A curved boundary, from both sides: a point at distance r of the centre is |3 − r| away from radius 3."""
    artifact = Counted(lambda x: np.stack([9 - (x**2).sum(1), np.zeros(len(x))], 1), 2, (8,))
    radius = np.linspace(2, 6, 80)
    x = normal(80, 8, 0)
    x *= (radius / np.linalg.norm(x, axis=1))[:, None].astype(np.float32)
    starts = answered(artifact, np.concatenate([normal(50, 8, 1), 5 * normal(50, 8, 2)]))
    found = signed_distance(artifact, Samples(x, np.zeros(80, dtype=np.int64)), starts, 0, 1000)
    np.testing.assert_allclose(found, 3 - radius, rtol=0.08)


def test_of_several_classes_the_nearest_boundary_counts_and_a_wrong_answer_is_negative():
    """Three strips along one axis: class 0 below −1, class 1 between, class 2 above 1."""
    artifact = Counted(lambda x: np.stack([-x[:, 0] - 1, 0 * x[:, 0], x[:, 0] - 1], 1), 3, (2,))
    x = np.array([[-3.0, 0], [0.5, 0], [0.5, 0], [-0.2, 0]], dtype=np.float32)
    samples = Samples(x, np.array([0, 1, 2, 0]))
    found = signed_distance(artifact, samples, answered(artifact, 3 * normal(200, 2, 0)), 0, 500)
    np.testing.assert_allclose(found, [2, 0.5, -0.5, -0.8], rtol=0.02)


@pytest.mark.parametrize("queries", [40, 250, 500])
def test_no_sample_costs_more_than_its_queries(queries):
    weight = normal(10, 3, 0)
    artifact = Counted(lambda x: x @ weight, 3, (10,))
    samples, starts = Samples(normal(50, 10, 1), np.arange(50) % 3), answered(artifact, normal(100, 10, 2))
    artifact.asked = 0
    signed_distance(artifact, samples, starts, 0, queries)
    assert artifact.asked <= 50 * queries
    assert artifact.asked > 0.5 * 50 * queries or queries == 40


def test_where_no_known_input_lies_beyond_the_boundary_the_distance_is_that_of_the_farthest():
    artifact = Counted(lambda x: np.stack([np.ones(len(x)), np.zeros(len(x))], 1), 2, (2,))
    starts = answered(artifact, np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32))
    found = signed_distance(artifact, Samples(np.zeros((2, 2), dtype=np.float32), np.array([0, 1])), starts, 0)
    np.testing.assert_allclose(found, [5, -5])


def test_a_distance_does_not_depend_on_the_other_samples_and_the_seed_decides():
    weight = normal(10, 3, 0)
    artifact = Counted(lambda x: x @ weight, 3, (10,))
    samples, starts = Samples(normal(30, 10, 1), np.arange(30) % 3), answered(artifact, normal(100, 10, 2))
    found = signed_distance(artifact, samples, starts, 0, 200)
    alone = signed_distance(artifact, Samples(samples.x[5:6], samples.y[5:6]), starts, 0, 200)
    np.testing.assert_allclose(alone, found[5:6], rtol=1e-5)
    np.testing.assert_array_equal(found, signed_distance(artifact, samples, starts, 0, 200))
    assert not np.array_equal(found, signed_distance(artifact, samples, starts, 1, 200))


def test_an_input_rounded_to_steps_hides_little_of_it():
    """An int8 file rounds its input: probes within a step see nothing, so probes reach a share of the distance."""
    weight = normal(50, 2, 0)
    step = np.float32(0.1)
    smooth = Counted(lambda x: x @ weight, 2, (50,))
    stepped = Counted(lambda x: (np.rint(x / step) * step) @ weight, 2, (50,))
    samples, starts = Samples(normal(60, 50, 1), np.zeros(60, dtype=np.int64)), answered(smooth, normal(200, 50, 2))
    ours, theirs = (signed_distance(artifact, samples, starts, 0, 500) for artifact in (smooth, stepped))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert np.median(np.abs(theirs) / np.abs(ours)) < 1.25


def side(seed, margin, count=100):
    """Two classes on either side of a plane, `margin` away from it at least."""
    x = normal(count, 6, seed)
    y = np.arange(count) % 2
    x[:, 0] = np.where(y == 1, 1, -1) * (margin + np.abs(x[:, 0]))
    return Samples(x, y)


def test_members_that_lie_deeper_are_caught_from_labels_alone():
    artifact = Counted(lambda x: np.stack([-x[:, 0], x[:, 0]], 1), 2, (6,))
    knowledge, members, strangers = Knowledge(side(0, 2.0), side(1, 0.0)), side(2, 2.0), side(3, 0.0)
    targets = Samples(np.concatenate([members.x, strangers.x]), np.concatenate([members.y, strangers.y]))
    scores = boundary_distance.score(artifact, knowledge, targets)
    assert auc(scores.values[:100], scores.values[100:]) > 0.95
    assert ((scores.values >= scores.threshold) == (np.arange(200) < 100)).mean() > 0.9
    same = boundary_distance.score(artifact, Knowledge(side(0, 1.0), side(1, 1.0)), side(4, 1.0))
    others = boundary_distance.score(artifact, Knowledge(side(0, 1.0), side(1, 1.0)), side(5, 1.0))
    assert abs(auc(same.values, others.values) - 0.5) < 0.125  # three standard errors


def test_pictures_of_one_class_and_ten_a_side():
    def pictures(seed):
        return Samples(normal(10, 16, seed).reshape(10, 1, 4, 4), np.full(10, 1))

    artifact = Counted(lambda x: x.reshape(len(x), -1)[:, :3], 3, (1, 4, 4))
    scores = boundary_distance.score(artifact, Knowledge(pictures(0), pictures(1)), pictures(2))
    assert scores.values.shape == (10,)
    assert np.isfinite(scores.values).all()
    assert np.isfinite(scores.threshold)


def test_two_thousand_pictures_walk_in_bounded_memory():
    samples = Samples(normal(2000, 784, 0), np.arange(2000) % 3)
    artifact = Counted(lambda x: x[:, :3], 3, (784,))
    starts = answered(artifact, normal(1000, 784, 1))
    tracemalloc.start()
    signed_distance(artifact, samples, starts, 0, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6
