"""Averages over changed copies: the same changes for every sample, block by block, and nothing learned from targets."""

import importlib.util
import tracemalloc

import numpy as np
import pytest

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Attack, Knowledge
from safedeploy.attacks.membership import augment_averaged, boosted, fitted, noise, noise_averaged, queries, shifts
from safedeploy.data.samples import Samples
from safedeploy.roc import auc

HERE = "safedeploy.attacks.membership"
TABLES = [Attack(name, "black", f"{HERE}.{name}:score") for name in ("boosted", "noise_averaged")]
on_tables = pytest.mark.parametrize("attack", TABLES, ids=lambda attack: attack.name)


def pictures(count, seed):
    x = np.random.default_rng(seed).normal(size=(count, 1, 6, 6)).astype(np.float32)
    return Samples(x, np.arange(count) % 4)


class Seen:
    """An artifact of pictures: one fixed linear layer, and a surer answer wherever a picture it has seen is exact."""

    format, name, classes, input_shape = "onnx", "seen", 4, (1, 6, 6)

    def __init__(self, *members):
        self.known = {row.tobytes(): label for side in members for row, label in zip(side.x, side.y, strict=True)}
        self.weight = np.random.default_rng(1).normal(size=(36, 4))

    def logits(self, x):
        answers = x.reshape(len(x), -1) @ self.weight
        for row, answer in zip(np.ascontiguousarray(x), answers, strict=True):
            if row.tobytes() in self.known:
                answer[:] = answer.max() * (np.arange(4) == self.known[row.tobytes()])
        return answers.astype(np.float32)


@on_tables
def test_a_memorising_artifact_is_caught(made, attack):
    knowledge, members, nonmembers = made.quarters(150)
    artifact = made.memoriser(knowledge.members, members)
    scores = attack.score(artifact, knowledge, made.together(members, nonmembers))
    assert auc(scores.values[:150], scores.values[150:]) > 0.97
    assert ((scores.values >= scores.threshold) == (np.arange(300) < 150)).mean() > 0.93


@on_tables
def test_an_artifact_without_memory_gives_nothing_away(made, attack):
    found = []
    for seed in range(4):
        knowledge, members, nonmembers = made.quarters(300, seed)
        scores = attack.score(made.honest(), knowledge, made.together(members, nonmembers))
        found.append(auc(scores.values[:300], scores.values[300:]))
    assert abs(np.mean(found) - 0.5) < 0.036  # three standard errors of four times 300 + 300


@on_tables
def test_a_score_does_not_depend_on_the_other_targets(made, attack):
    knowledge, members, nonmembers = made.quarters(60)
    artifact = made.memoriser(knowledge.members)
    both = attack.score(artifact, knowledge, made.together(members, nonmembers))
    one = attack.score(artifact, knowledge, members)
    np.testing.assert_array_equal(both.values[:60], one.values)
    assert both.threshold == one.threshold


@on_tables
def test_ten_samples_of_one_class_and_answers_that_are_labels_are_enough_to_run(made, attack):
    few = [Samples(made.samples(40, [3, part]).x[:10], np.full(10, 2)) for part in range(4)]
    one_hot = made.Function(lambda x: np.eye(4)[made.honest().answer(x).argmax(1)])
    scores = attack.score(one_hot, Knowledge(few[0], few[1]), made.together(few[2], few[3]))
    assert scores.values.shape == (20,)
    assert np.isfinite(scores.values).all()


def test_trees_find_members_that_a_threshold_cannot():
    """Members' losses lie between easy strangers' and hard strangers': no cut tells them apart, an interval does."""
    rng = np.random.default_rng(0)
    members = [rng.normal(0, 1, size=(400, 1)) for _ in range(2)]
    strangers = [rng.choice([-4.0, 4.0], size=(400, 1)) + rng.normal(0, 1, size=(400, 1)) for _ in range(2)]
    assert abs(auc(members[1], strangers[1]) - 0.5) < 0.07
    wanted = np.concatenate([members[1], strangers[1]])
    _, _, values = fitted.cross_fitted(members[0], strangers[0], wanted, 0)
    assert auc(values[:400], values[400:]) > 0.97


def test_the_trees_judge_no_known_sample_they_were_fitted_on():
    """Features that are pure chance: judged on its own samples, any flexible attacker would look strong."""
    rng = np.random.default_rng(0)
    members, nonmembers, wanted = (rng.normal(size=(200, 10)) for _ in range(3))
    inside, outside, _ = fitted.cross_fitted(members, nonmembers, wanted, 0)
    assert abs(auc(inside, outside) - 0.5) < 0.09  # three standard errors


def test_pictures_that_are_memorised_exactly_are_told_by_their_shifted_copies():
    known_in, known_out, members, nonmembers = (pictures(150, [5, part]) for part in range(4))
    artifact, knowledge = Seen(known_in, members), Knowledge(known_in, known_out)
    targets = Samples(np.concatenate([members.x, nonmembers.x]), np.concatenate([members.y, nonmembers.y]))
    scores = augment_averaged.score(artifact, knowledge, targets)
    assert auc(scores.values[:150], scores.values[150:]) > 0.85
    honest = augment_averaged.score(Seen(), knowledge, targets)
    assert abs(auc(honest.values[:150], honest.values[150:]) - 0.5) < 0.1  # three standard errors


def test_a_table_has_no_shifts_and_the_reason_says_so(made):
    knowledge, members, _ = made.quarters(40)
    with pytest.raises(Unopenable, match="no images"):
        augment_averaged.score(made.honest(), knowledge, members)


def test_shifts_by_hand():
    picture = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    made = [change(picture)[0, 0].tolist() for change in shifts.shifts((1, 2, 3), 1)]
    assert len(made) == 2 * 5
    assert made[0] == [[0, 1, 2], [3, 4, 5]]
    assert made[1] == [[2, 1, 0], [5, 4, 3]]
    down, right = [[0, 1, 2], [0, 1, 2]], [[0, 0, 1], [3, 3, 4]]
    assert down in made
    assert right in made
    assert [row[::-1] for row in right] in made


def test_the_mean_over_copies_of_a_linear_answer_is_the_answer_at_the_mean_copy(made):
    x = made.samples(50, 0).x
    changes = [lambda x: x + 1, lambda x: x - 3, lambda x: 2 * x]
    artifact = made.honest()
    found = queries.mean_over_copies(artifact, x, changes, lambda logits, rows: logits.astype(np.float64))
    np.testing.assert_allclose(found, artifact.answer((x + 1 + x - 3 + 2 * x) / 3), atol=1e-5)


def test_averages_are_column_by_column_step_by_step(made):
    samples = made.samples(30, 0)
    steps = [[noise.unchanged], [lambda x: -x, lambda x: 2 * x]]
    ones = lambda logits, labels: np.ones(len(labels))  # noqa: E731
    own = lambda logits, labels: logits[np.arange(len(labels)), labels].astype(np.float64)  # noqa: E731
    found = queries.averages(made.honest(), samples, steps, ones, own)
    logits = own(made.honest().answer(samples.x), samples.y)
    np.testing.assert_allclose(found, np.column_stack([np.ones(30), logits, np.ones(30), logits / 2]), atol=1e-5)


def test_blocks_cover_every_sample_once_and_are_bounded():
    x = np.zeros((1000, 3, 100, 100), dtype=np.float32)
    slices = list(queries.blocks(x))
    assert [row for part in slices for row in range(1000)[part]] == list(range(1000))
    assert max(part.stop - part.start for part in slices) * 30_000 <= queries.CELLS
    assert len(list(queries.blocks(np.zeros((2, 10**7), dtype=np.float32)))) == 2


def test_copies_are_not_kept_by_an_artifact_that_remembers(made):
    artifact = remember(made.honest())
    samples = made.samples(20, 0)
    queries.averages(artifact, samples, [[noise.unchanged]], queries.right)
    assert not artifact._logits


def test_a_tables_noise_puts_in_only_what_known_rows_hold(made):
    knowledge, members, _ = made.quarters(50)
    known = np.concatenate([knowledge.members.x, knowledge.nonmembers.x])
    for share, changes in zip(noise.SHARES, noise.noise(knowledge, 200), strict=True):
        copies = np.stack([change(members.x) for change in changes])
        changed = copies != members.x
        assert abs(changed.mean() - share) < 4 * np.sqrt(share / 1200)
        for column in range(6):
            assert np.isin(copies[..., column][changed[..., column]], known[:, column]).all()


def test_a_pictures_noise_has_the_deviation_asked_for():
    knowledge = Knowledge(pictures(50, 0), pictures(50, 1))
    x, spread = pictures(20, 2).x, np.concatenate([pictures(50, 0).x, pictures(50, 1).x]).std()
    for part, changes in zip(noise.DEVIATIONS, noise.noise(knowledge, 30), strict=True):
        added = np.stack([change(x) - x for change in changes])
        assert added.std() == pytest.approx(part * spread, rel=0.1)
        assert not np.array_equal(added[0], added[1])


def test_the_seed_decides(made):
    knowledge, members, _ = made.quarters(60)
    artifact = made.honest()
    first, again = (noise_averaged.score(artifact, knowledge, members) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    other = noise_averaged.score(artifact, Knowledge(knowledge.members, knowledge.nonmembers, 9), members)
    assert not np.array_equal(first.values, other.values)


def test_two_thousand_pictures_need_little_memory():
    samples = Samples(np.zeros((2000, 3, 32, 32), dtype=np.float32), np.zeros(2000, dtype=np.int64))
    knowledge = Knowledge(Samples(samples.x[:20], samples.y[:20]), Samples(samples.x[20:40], samples.y[20:40]))
    artifact = Seen()
    artifact.logits = lambda x: np.zeros((len(x), 4), dtype=np.float32)
    tracemalloc.start()
    noise_averaged.features(artifact, knowledge, samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_none_of_them_needs_torch():
    for module in (boosted, noise_averaged, augment_averaged):
        source = importlib.util.find_spec(module.__name__).loader.get_source(module.__name__)
        assert "torch" not in source
