"""Inversion judged: models whose classes are known, chance, the baseline, and what is saved."""

import io

import numpy as np
import pytest
from scipy.special import softmax

from safedeploy.attacks.base import Knowledge
from safedeploy.audit.exam import Exam
from safedeploy.audit.inversion import audit_inversion, save_inversion, thumbnails
from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.results import InversionEvidence

CLASSES = 6


def blobs(count, seed, shape=(20,), centres=2.0, classes=CLASSES):
    """Classes around centres, by turns: (samples, centres)."""
    middle = centres * np.random.default_rng(11).normal(size=(classes, *shape))
    y = np.arange(count) % classes
    x = middle[y] + np.random.default_rng(seed).normal(size=(count, *shape))
    return Samples(x.astype(np.float32), y), middle


def exam(count=240, seed=0, classes=CLASSES, **how):
    parts = [blobs(count, [seed, part], classes=classes, **how)[0] for part in range(4)]
    return Exam(Knowledge(parts[0], parts[1], seed), parts[2], parts[3], tuple("abcdef"[:classes]))


def nearest(points, labels, shape, sharp=0.5, classes=CLASSES):
    """Class scores from distances to labelled points: the mean of each class's kernel values."""
    flat = points.reshape(len(points), -1)
    hot = np.eye(classes)[labels]

    def answer(x):
        x = x.reshape(len(x), -1)
        square = (x**2).sum(1)[:, None] - 2 * x @ flat.T + (flat**2).sum(1)
        logits = -sharp * square
        kernel = np.exp(logits - logits.max(axis=1, keepdims=True)) @ hot
        return np.log(kernel + 1e-30)

    return answer


def artifact(made, answer, shape=(20,), classes=CLASSES):
    function = made.Function(answer)
    function.classes, function.input_shape = classes, shape
    return function


def test_a_model_that_learned_its_classes_gives_them_away_and_no_member(made):
    asked = exam()
    middle = blobs(1, 0)[1]
    result = audit_inversion(artifact(made, nearest(middle, np.arange(CLASSES), (20,), 0.1)), asked)
    evidence = result.evidence
    assert evidence.finding == "class"
    assert evidence.inversion.first == CLASSES
    assert evidence.inversion.members > 0.6
    assert evidence.inversion.others < 0.2
    assert evidence.inversion.closer_low <= 0
    assert evidence.known.members > 0.9  # who has samples of the class needs no file
    assert [row.rank for row in evidence.classes] == [1] * CLASSES
    assert evidence.queries == 100 * CLASSES * 50


def test_a_model_with_its_classes_swapped_shows_the_other_class(made):
    """Row c rises where class c + 1 lies: sure answers, and not one input of its own class."""
    asked, middle = exam(), blobs(1, 0)[1]
    answer = nearest(np.roll(middle, -1, axis=0), np.arange(CLASSES), (20,), 0.1)
    evidence = audit_inversion(artifact(made, answer), asked).evidence
    assert min(row.confidence for row in evidence.classes) > 0.9
    assert evidence.inversion.first == 0
    assert evidence.finding == "nothing"


def test_a_model_of_noise_is_sure_of_its_inputs_and_they_show_nothing(made):
    weight = np.random.default_rng(5).normal(size=(20, CLASSES))
    evidence = audit_inversion(artifact(made, lambda x: x @ weight), exam(seed=1)).evidence
    assert np.mean([row.confidence for row in evidence.classes]) > 0.9
    assert evidence.inversion.permutation_p > 0.05
    assert evidence.finding == "nothing"


def test_a_model_that_leans_on_few_members_is_found_closer_to_them(made):
    """Eight members a class: their mean lies off the class's."""
    asked = exam(48)
    answer = nearest(asked.members.x, asked.members.y, (20,), 0.05)
    evidence = audit_inversion(artifact(made, answer), asked).evidence
    assert evidence.finding == "members"
    assert evidence.inversion.closer_low > 0
    assert evidence.inversion.members > evidence.inversion.nonmembers
    assert evidence.known.closer_low <= 0


def test_where_the_sets_differ_closeness_proves_nothing(made):
    asked = exam()
    moved = [Samples(part.x + np.float32(1), part.y) for part in (asked.knowledge.nonmembers, asked.nonmembers)]
    shifted = Exam(Knowledge(asked.knowledge.members, moved[0], 0), asked.members, moved[1], tuple("abcdef"))
    middle = blobs(1, 0)[1]
    evidence = audit_inversion(artifact(made, nearest(middle - 1, np.arange(CLASSES), (20,), 0.1)), shifted).evidence
    assert evidence.inversion.closer_low > 0
    assert evidence.finding == "inconclusive"


def test_three_classes_are_too_few_to_tell_from_chance(made):
    asked, middle = exam(classes=3), blobs(1, 0, classes=3)[1]
    file = artifact(made, nearest(middle, np.arange(3), (20,), 0.1, 3), classes=3)
    evidence = audit_inversion(file, asked).evidence
    assert evidence.inversion.first == 3
    assert evidence.inversion.permutation_p == pytest.approx(1 / 6, abs=0.02)
    assert evidence.finding == "inconclusive"


def test_the_white_box_needs_fewer_queries_and_finds_as_much(made):
    import torch

    middle = blobs(1, 0)[1].reshape(CLASSES, -1)
    module = torch.nn.Linear(20, CLASSES)
    module.weight.data = torch.tensor(middle, dtype=torch.float32)
    module.bias.data = torch.tensor(-0.5 * (middle**2).sum(axis=1), dtype=torch.float32)
    file = artifact(made, lambda x: module(torch.from_numpy(x)).detach().numpy())
    asked = exam()
    black, white = (audit_inversion(file, asked, module=inside).evidence for inside in (None, module))
    assert (black.access, white.access) == ("black", "white")
    assert white.queries < black.queries / 10
    assert white.inversion.members == pytest.approx(black.inversion.members, abs=0.15)
    assert white.finding == "class"


def test_confidence_is_the_files_own(made):
    middle = blobs(1, 0)[1]
    file = artifact(made, nearest(middle, np.arange(CLASSES), (20,), 0.1))
    result = audit_inversion(file, exam(), steps=5)
    own = softmax(file.logits(result.inputs), axis=1).diagonal()
    assert [row.confidence for row in result.evidence.classes] == pytest.approx(own)


def test_what_is_saved_can_be_read_and_looked_at(made, tmp_path):
    from matplotlib.image import imread

    shape = (1, 8, 8)
    asked, middle = exam(120, shape=shape), blobs(1, 0, shape)[1]
    file = artifact(made, nearest(middle, np.arange(CLASSES), shape, 0.02), shape)
    result = audit_inversion(file, asked, steps=10)
    save_inversion(result, tmp_path / "inversion.npz", tmp_path / "inversion.png")
    with np.load(tmp_path / "inversion.npz") as saved:
        assert (saved["inputs"] == result.inputs).all()
        assert saved["known"].shape == (CLASSES, *shape)
        assert saved["labels"].tolist() == list("abcdef")
    assert imread(tmp_path / "inversion.png").shape[1] > 6 * 60
    assert thumbnails(result).startswith(b"\x89PNG")
    assert imread(io.BytesIO(thumbnails(result))).ndim == 3
    result.evidence.write(tmp_path / "inversion.json")
    assert InversionEvidence.read(tmp_path / "inversion.json") == result.evidence


def test_a_table_has_no_picture(made, tmp_path):
    middle = blobs(1, 0)[1]
    result = audit_inversion(artifact(made, nearest(middle, np.arange(CLASSES), (20,))), exam(), steps=2)
    save_inversion(result, tmp_path / "inversion.npz")
    with pytest.raises(UserError, match="no images"):
        thumbnails(result)


def test_a_class_without_samples_is_not_judged(made):
    """The file tells six classes apart, the samples hold five."""
    middle = blobs(1, 0)[1]
    parts = [blobs(200, [0, part], classes=5)[0] for part in range(4)]
    asked = Exam(Knowledge(parts[0], parts[1], 0), parts[2], parts[3], tuple("abcdef"))
    result = audit_inversion(artifact(made, nearest(middle, np.arange(CLASSES), (20,), 0.1)), asked, steps=5)
    assert result.labels == tuple("abcde")
    assert result.inputs.shape == (5, 20)
