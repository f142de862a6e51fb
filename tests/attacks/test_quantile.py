"""Quantile regression: non-members alone are fitted, and no sample is scored by a regression that saw it."""

import numpy as np
import pytest

from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import quantile
from safedeploy.data.samples import Samples
from safedeploy.roc import auc, tpr_at_fpr

SIDE = 400


def side(seed, luck, count=SIDE):
    """The first column says how hard an input is, the second how lucky: members' φ had more luck."""
    x = np.random.default_rng(seed).normal(size=(count, 5))
    x[:, 1] = 0.3 * x[:, 1] + luck
    return Samples(x.astype(np.float32), np.zeros(count, dtype=np.int64))


def hidden(samples):
    """The same samples with the column of luck out of the regression's sight, as a model's memory is."""
    x = samples.x.copy()
    x[:, 1] = 0
    return Samples(x, samples.y)


def phi(samples):
    """It ranks by difficulty; what is left once difficulty is known ranks by luck."""
    return (4 * samples.x[:, 0] + samples.x[:, 1]).astype(np.float64)


def test_what_the_input_explains_is_taken_out_of_the_score():
    """The standardised residual of a normal with known mean and deviation, which quantiles at ±1 deviation give."""
    fit, strangers, members = side(0, 0.0, 2000), side(1, 0.0), side(2, 1.0)
    residual = quantile.regress(hidden(fit), phi(fit), 0)
    inside, outside = residual(hidden(members), phi(members)), residual(hidden(strangers), phi(strangers))
    assert auc(phi(members), phi(strangers)) < 0.62
    assert auc(inside, outside) > 0.85  # the best there is, from luck alone: 0.99
    assert abs(np.median(outside)) < 0.2
    assert 0.6 < outside.std() < 1.6


def test_the_spread_is_regressed_too():
    """φ twice as spread where the input says so: residuals are on one scale all the same."""
    rng = np.random.default_rng(0)
    x = np.repeat([[-1.0], [1.0]], 1500, axis=0) + rng.normal(0, 0.1, size=(3000, 1))
    values = rng.normal(size=3000) * np.where(x[:, 0] > 0, 4.0, 1.0)
    samples = Samples(x.astype(np.float32), np.zeros(3000, dtype=np.int64))
    found = quantile.regress(samples, values, 0)(samples, values)
    assert found[:1500].std() == pytest.approx(found[1500:].std(), rel=0.15)


def test_the_label_alone_can_explain_it():
    y = np.arange(1000) % 2
    x = np.zeros((1000, 3), dtype=np.float32) + np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    values = np.where(y == 0, 10.0, -10.0) + np.random.default_rng(1).normal(size=1000)
    found = quantile.regress(Samples(x, y), values, 0)(Samples(x, y), values)
    assert abs(np.median(found[y == 0]) - np.median(found[y == 1])) < 0.2


class Chance:
    """φ is chance, the same for every ask: there is nothing to find, and much to overfit."""

    format, name, classes, input_shape = "onnx", "chance", 2, (30,)

    def logits(self, x):
        value = np.modf(np.abs(x.astype(np.float64) @ np.arange(1, 31)) * 1e4)[0] * 8 - 4
        return np.stack([value, 0 * value], axis=1).astype(np.float32)


def chance(seed, count):
    return Samples(np.random.default_rng(seed).normal(size=(count, 30)).astype(np.float32), np.zeros(count, np.int64))


def test_fitted_and_scored_on_the_same_nonmembers_rates_come_out_of_nothing_and_ours_do_not():
    """The trap: a regression bends towards its own samples, so they score low and everyone else seems a member."""
    fitted_on, fresh_in, fresh_out = (chance(seed, 300) for seed in range(3))
    artifact = Chance()
    own = [artifact.logits(part.x)[:, 0].astype(np.float64) for part in (fitted_on, fresh_in, fresh_out)]
    residual = quantile.regress(fitted_on, own[0], 0)
    trapped = tpr_at_fpr(residual(fresh_in, own[1]), residual(fitted_on, own[0]), 0.01)
    assert trapped.tpr > 2 * trapped.null_high
    knowledge = Knowledge(chance(3, 300), fitted_on)
    targets = Samples(np.concatenate([fresh_in.x, fresh_out.x]), np.concatenate([fresh_in.y, fresh_out.y]))
    scores = quantile.score(artifact, knowledge, targets)
    ours = tpr_at_fpr(scores.values[:300], scores.values[300:], 0.01)
    assert ours.tpr <= ours.null_high
    assert abs(auc(scores.values[:300], scores.values[300:]) - 0.5) < 0.07  # three standard errors


def test_known_members_change_the_cut_alone(made):
    knowledge, members, _ = made.quarters(100)
    artifact = made.memoriser(members)
    first = quantile.score(artifact, knowledge, members)
    other = quantile.score(artifact, Knowledge(members, knowledge.nonmembers), members)
    np.testing.assert_array_equal(first.values, other.values)
    assert first.threshold != other.threshold


def test_a_memorising_artifact_is_caught_and_an_honest_one_is_not(made):
    knowledge, members, nonmembers = made.quarters(200)
    targets = made.together(members, nonmembers)
    scores = quantile.score(made.memoriser(knowledge.members, members), knowledge, targets)
    assert auc(scores.values[:200], scores.values[200:]) > 0.98
    assert ((scores.values >= scores.threshold) == (np.arange(400) < 200)).mean() > 0.95
    scores = quantile.score(made.honest(), knowledge, targets)
    assert abs(auc(scores.values[:200], scores.values[200:]) - 0.5) < 0.087  # three standard errors


def test_ten_samples_of_one_class_and_answers_that_are_labels_are_enough_to_run(made):
    few = [Samples(made.samples(40, [3, part]).x[:10], np.full(10, 2)) for part in range(4)]
    one_hot = made.Function(lambda x: np.eye(4)[made.honest().answer(x).argmax(1)])
    scores = quantile.score(one_hot, Knowledge(few[0], few[1]), made.together(few[2], few[3]))
    assert scores.values.shape == (20,)
    assert np.isfinite(scores.values).all()


def test_pictures_are_taken_as_they_are(made):
    def pictures(seed):
        return Samples(np.random.default_rng(seed).normal(size=(60, 1, 5, 5)).astype(np.float32), np.arange(60) % 4)

    artifact = made.Function(lambda x: x.reshape(len(x), -1)[:, :4])
    scores = quantile.score(artifact, Knowledge(pictures(0), pictures(1)), pictures(2))
    assert np.isfinite(scores.values).all()
    again = quantile.score(artifact, Knowledge(pictures(0), pictures(1)), pictures(2))
    np.testing.assert_array_equal(scores.values, again.values)
