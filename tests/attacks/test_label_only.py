"""Attacks that see labels alone: what a file answers in logits or in one-hot labels is the same to them."""

import numpy as np
import pytest

from safedeploy.artifacts.base import Unopenable
from safedeploy.attacks.base import Attack, Knowledge
from safedeploy.attacks.membership import label_only_augment, label_only_noise
from safedeploy.data.samples import Samples
from safedeploy.roc import auc

NAMES = ("label_only_noise", "label_only_augment", "boundary_distance")
each = pytest.mark.parametrize("name", NAMES)
SIDE = 150


class Disc:
    """Pictures of a bright spot; class 0 where it lies left of the middle, 1 where right, soft or as labels."""

    format, name, classes, input_shape = "onnx", "disc", 2, (1, 5, 9)

    def __init__(self, hard=False):
        self.hard = hard

    def logits(self, x):
        centre = (x.sum(axis=(1, 2)) * np.arange(-4, 5)).sum(axis=1)
        both = np.stack([-centre, centre], axis=1).astype(np.float32)
        return np.eye(2, dtype=np.float32)[both.argmax(1)] if self.hard else both


def spots(seed, places, count=SIDE):
    """A spot in one of `places` columns off the middle, on the side of its label."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = rng.normal(0, 0.02, size=(count, 1, 5, 9)).astype(np.float32)
    off = rng.choice(places, size=count)
    x[np.arange(count), 0, rng.integers(5, size=count), 4 + np.where(y == 1, off, -off)] += 1
    return Samples(x, y)


def found(name, artifact, knowledge, targets):
    return Attack(name, "black", f"safedeploy.attacks.membership.{name}:score").score(artifact, knowledge, targets)


def both(first, second):
    return Samples(np.concatenate([first.x, second.x]), np.concatenate([first.y, second.y]))


@each
def test_members_that_are_answered_more_robustly_are_caught(name):
    """All are answered right, so whether an answer is right tells nothing; how far from the middle they lie does."""
    knowledge = Knowledge(spots(0, [3, 4]), spots(1, [1]))
    targets = both(spots(2, [3, 4]), spots(3, [1]))
    scores = found(name, Disc(), knowledge, targets)
    assert (Disc().logits(targets.x).argmax(1) == targets.y).all()
    assert auc(scores.values[:SIDE], scores.values[SIDE:]) > 0.9
    assert ((scores.values >= scores.threshold) == (np.arange(2 * SIDE) < SIDE)).mean() > 0.85


@each
def test_logits_and_one_hot_labels_get_the_same_scores(name):
    knowledge, targets = Knowledge(spots(0, [3, 4], 40), spots(1, [1, 2], 40)), spots(2, [1, 2, 3], 40)
    soft, hard = (found(name, Disc(hard), knowledge, targets) for hard in (False, True))
    np.testing.assert_array_equal(soft.values, hard.values)
    assert soft.threshold == hard.threshold


@each
def test_equal_distributions_stay_indistinguishable(name):
    values = []
    for seed in range(3):
        parts = [spots([seed, part], [1, 2, 3, 4]) for part in range(4)]
        scores = found(name, Disc(), Knowledge(parts[0], parts[1], seed), both(parts[2], parts[3]))
        values.append(auc(scores.values[:SIDE], scores.values[SIDE:]))
    assert abs(np.mean(values) - 0.5) < 0.058  # three standard errors of three times 150 + 150


@each
def test_ten_samples_of_one_class_are_enough_to_run(name):
    parts = [spots(seed, [1, 2, 3], 20) for seed in range(3)]
    few = [Samples(part.x[::2], part.y[::2]) for part in parts]
    scores = found(name, Disc(), Knowledge(few[0], few[1]), few[2])
    assert scores.values.shape == (10,)
    assert np.isfinite(scores.values).all()


def test_a_tables_rows_are_asked_with_columns_replaced(made):
    """A model of one column: replaced with chance s by a value of either sign, the answer turns with chance s / 2."""

    def rows(seed):
        x = np.random.default_rng(seed).choice([-1.0, 1.0], size=(60, 3)).astype(np.float32)
        return Samples(x, (x[:, 0] > 0).astype(np.int64))

    artifact = made.Function(lambda x: np.stack([-x[:, 0], x[:, 0]], 1), classes=2, columns=3)
    knowledge = Knowledge(rows(0), rows(1))
    shares = np.mean(
        [
            label_only_noise.features(artifact, Knowledge(knowledge.members, knowledge.nonmembers, seed), rows(2))
            for seed in range(20)
        ],
        axis=(0, 1),
    )
    np.testing.assert_allclose(shares, [1, 0.99, 0.975, 0.95, 0.9, 0.8], atol=0.025)


def test_which_shifted_copies_are_answered_right_by_hand():
    """A spot one column right of the middle: shifted left by one, it is on the fence, and argmax says class 0."""
    x = np.zeros((1, 1, 5, 9), dtype=np.float32)
    x[0, 0, 2, 5] = 1
    bits = label_only_augment.features(Disc(), Knowledge(spots(0, [1]), spots(1, [1])), Samples(x, np.array([1])))[0]
    plain, mirrored = bits[0::2], bits[1::2]
    assert len(plain) == len(mirrored) == 13
    assert plain.sum() == 13 - 3 - 1  # one to the left, at three heights, and two to the left
    assert mirrored.sum() == 1  # two to the left, then mirrored: one column right again


def test_a_table_is_not_shifted(made):
    knowledge, members, _ = made.quarters(40)
    with pytest.raises(Unopenable, match="no images"):
        label_only_augment.score(made.honest(), knowledge, members)
