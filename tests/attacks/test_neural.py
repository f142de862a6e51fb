"""The neural attackers: they find what is there, find nothing where nothing is, and draw from their own seed alone."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import ATTACKS, neural, neural_black, neural_white
from safedeploy.roc import auc

NEURAL = [attack for attack in ATTACKS if attack.name.startswith("neural")]
each = pytest.mark.parametrize("attack", NEURAL, ids=lambda attack: attack.name)


def judged(attack, artifact, knowledge, members, nonmembers, made):
    scores = attack.score(artifact, knowledge, made.together(members, nonmembers))
    return auc(scores.values[: len(members.y)], scores.values[len(members.y) :]), scores


@each
def test_a_memorising_artifact_is_caught(made, attack):
    knowledge, members, nonmembers = made.quarters(200)
    artifact = made.memoriser(knowledge.members, members)
    value, scores = judged(attack, artifact, knowledge, members, nonmembers, made)
    assert value > 0.99
    flagged = scores.values >= scores.threshold
    assert 0.5 * (flagged[:200].mean() + 1 - flagged[200:].mean()) > 0.95


@each
def test_no_leak_is_found_where_there_is_none(made, attack):
    found = []
    for seed in range(4):
        knowledge, members, nonmembers = made.quarters(250, seed)
        found.append(judged(attack, made.honest(), knowledge, members, nonmembers, made)[0])
    assert abs(np.mean(found) - 0.5) < 0.04  # three standard errors of four times 250 + 250


@each
def test_the_seed_decides_and_the_global_state_does_not(made, attack):
    knowledge, members, _ = made.quarters(80)
    artifact = made.memoriser(knowledge.members)
    torch.manual_seed(1)
    first = attack.score(artifact, knowledge, members)
    torch.manual_seed(2)
    again = attack.score(artifact, knowledge, members)
    other = attack.score(artifact, Knowledge(knowledge.members, knowledge.nonmembers, seed=5), members)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.threshold == again.threshold
    assert not np.array_equal(first.values, other.values)


@each
def test_the_global_random_state_is_left_as_it_was(made, attack):
    knowledge, members, _ = made.quarters(60)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    attack.score(made.honest(), knowledge, members)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@each
def test_a_score_does_not_depend_on_the_other_targets(made, attack):
    knowledge, members, nonmembers = made.quarters(60)
    artifact = made.memoriser(knowledge.members)
    both = attack.score(artifact, knowledge, made.together(members, nonmembers))
    one = attack.score(artifact, knowledge, members)
    np.testing.assert_allclose(both.values[:60], one.values, rtol=1e-4, atol=1e-4)


def test_the_white_box_attacker_needs_a_white_box(made):
    knowledge, members, _ = made.quarters(60)
    closed = made.Function(made.honest().answer)
    with pytest.raises(Unopenable, match="hides its inside"):
        next(attack for attack in NEURAL if attack.access == "white").score(closed, knowledge, members)


@pytest.mark.parametrize(("classes", "width"), [(4, 9), (5, 8), (2, 1)])
def test_the_gradient_branch_sees_autograds_gradient_of_each_sample(classes, width):
    """Convolved, rectified and pooled by torch's own layers on the explicit gradient images."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, classes))
    x, y = torch.randn(7, 6), torch.randint(classes, (7,))
    features = TorchArtifact(module, "m", (6,), classes).unpack().features(x.numpy())
    images = []
    for number in range(7):
        module.zero_grad()
        functional.cross_entropy(module(x[number : number + 1]), y[number : number + 1]).backward()
        images.append(module[2].weight.grad.clone())
    convolution = nn.Conv2d(1, 4, 5, padding=2)
    layers = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten())
    error = torch.from_numpy(features.logits).softmax(1) - functional.one_hot(y, classes).float()
    found = neural_white.pooled_convolution(error, torch.from_numpy(features.penultimate), convolution)
    torch.testing.assert_close(found, layers(torch.stack(images)[:, None]), rtol=1e-4, atol=1e-6)


def test_the_networks_have_the_published_widths():
    black, white = neural_black.make_network(10, 0), neural_white.make_network(10, 84, 0)

    def widths(branch):
        linear = [layer for layer in branch if isinstance(layer, nn.Linear)]
        return [linear[0].in_features, *(layer.out_features for layer in linear)]

    assert widths(black.logits) == [10, 1024, 512, 64]
    assert widths(black.label) == [10, 512, 64]
    assert widths(black.joined) == [128, 256, 64, 1]
    assert widths(white.logits) == widths(white.label) == [10, 128, 64]
    assert widths(white.loss) == [1, 128, 64]
    assert widths(white.gradient)[1:] == [256, 128, 64]
    assert widths(white.encoder) == [256, 256, 128, 64, 1]
    assert [layer.p for layer in white.encoder if isinstance(layer, nn.Dropout)] == [0.2] * 3
    assert white.convolution.kernel_size == (5, 5)


def test_batches_hold_as_many_members_as_nonmembers():
    """Ten times as many members must not teach the attacker to say 'member'."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(1100, dtype=torch.int64)
    logits = torch.randn(1100, 4, generator=generator)
    network = neural_black.make_network(4, 0)
    members, nonmembers = (logits[:1000], labels[:1000]), (logits[1000:], labels[1000:])
    neural.train_steps(network, members, nonmembers, 20, neural.Fitting(), 0)
    fresh = (torch.randn(2000, 4, generator=generator), torch.zeros(2000, dtype=torch.int64))
    assert abs((neural.score(network, fresh) > 0).mean() - 0.5) < 0.25


def test_scores_do_not_depend_on_the_batch_they_are_computed_in():
    network = neural_black.make_network(4, 0)
    inputs = (torch.randn(50, 4), torch.arange(50) % 4)
    np.testing.assert_allclose(neural.score(network, inputs, 7), neural.score(network, inputs), rtol=1e-5, atol=1e-6)


def test_standardised_columns_have_mean_0_and_deviation_1_and_outliers_are_clipped():
    x = torch.randn(500, 3) * torch.tensor([0.01, 1.0, 100.0]) + torch.tensor([5.0, 0.0, -300.0])
    scale = neural.Standardise(3)
    scale.fit(x)
    torch.testing.assert_close(scale(x).mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(scale(x).std(0), torch.ones(3), atol=1e-3, rtol=0)
    assert scale(torch.full((1, 3), 1e9)).max() == 10
    constant = neural.Standardise(3)
    constant.fit(torch.ones(10, 3))
    assert torch.isfinite(constant(torch.ones(2, 3))).all()


def test_answers_come_label_first_then_in_falling_order():
    """p of (1, 2, 3, 2) / 8 under label 3 is 2/8, then 3/8, 2/8, 1/8; the order in which classes are named is gone."""
    log_p = torch.tensor([[1.0, 2.0, 3.0, 2.0]]).log()
    wanted = torch.tensor([[2.0, 3.0, 2.0, 1.0]]) / 8
    torch.testing.assert_close(neural.label_first(log_p + 5, torch.tensor([3])).exp(), wanted)
    torch.testing.assert_close(neural.label_first(log_p[:, [3, 2, 1, 0]], torch.tensor([0])).exp(), wanted)


def test_many_classes_do_not_blind_the_black_attacker():
    """What tells is p of the label, whichever of 30 classes that is: 8 samples a class are enough."""
    generator = torch.Generator().manual_seed(0)

    def side(sure):
        labels = torch.arange(240) % 30
        logits = torch.randn(240, 30, generator=generator)
        logits[torch.arange(240), labels] += sure
        return logits, labels

    members, nonmembers, judged_in, judged_out = (side(sure) for sure in (4.0, 2.0, 4.0, 2.0))
    network = neural_black.make_network(30, 0)
    network.fit_scale(*(torch.cat(pair) for pair in zip(members, nonmembers, strict=True)))
    neural.train_steps(network, members, nonmembers, 40, neural.Fitting(batch_size=64), 0)
    assert auc(neural.score(network, judged_in), neural.score(network, judged_out)) > 0.85
