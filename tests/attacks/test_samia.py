"""SAMIA: sensitivity is that of the file at hand, so its noise must be one that the file can feel."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.attacks.base import Knowledge
from safedeploy.attacks.membership import samia
from safedeploy.data.samples import Samples
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation
from safedeploy.roc import auc


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """A network trained to the end on random labels, in float32 and as static int8: (files, knowledge, targets)."""
    torch.manual_seed(0)
    x = torch.randn(640, 16)
    y = torch.randint(3, (640,))
    module = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 3))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[:320]), y[:320]).backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("samia")
    float32, int8 = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(module.eval(), (16,), float32, opset=20, model_name="overfitted")
    quantise_onnx(float32, int8, x.numpy(), Quantisation())
    parts = [Samples(x[rows].numpy(), y[rows].numpy()) for rows in torch.arange(640).split(160)]
    knowledge = Knowledge(parts[0], parts[2])
    targets = Samples(np.concatenate([parts[1].x, parts[3].x]), np.concatenate([parts[1].y, parts[3].y]))
    return {"float32": OnnxArtifact(float32, threads=1), "int8": OnnxArtifact(int8, threads=1)}, knowledge, targets


def test_noise_below_an_int8_files_step_is_not_felt_and_the_noise_chosen_is(overfitted):
    """The trap: with a fixed faint noise, an int8 file's sensitivity is that of its rounding."""
    files, knowledge, targets = overfitted
    faint = 1e-3
    felt = {
        (name, deviation): samia.sensitivity(artifact, targets.x, deviation, 0).sum(1)
        for name, artifact in files.items()
        for deviation in (faint, samia.choose_noise(artifact, knowledge))
    }
    agreement = [
        np.corrcoef(*(np.argsort(np.argsort(felt[name, deviation])) for name, deviation in pair))[0, 1]
        for pair in (
            [("float32", faint), ("int8", faint)],
            [(name, samia.choose_noise(artifact, knowledge)) for name, artifact in files.items()],
        )
    ]
    assert agreement[1] > 0.95
    assert agreement[1] > agreement[0] + 0.1


def test_the_file_in_int8_leaks_what_the_file_in_float32_does(overfitted):
    files, knowledge, targets = overfitted
    found = {}
    for name, artifact in files.items():
        scores = samia.score(artifact, knowledge, targets)
        found[name] = auc(scores.values[:160], scores.values[160:])
    assert min(found.values()) > 0.85
    assert abs(found["float32"] - found["int8"]) < 0.06


def test_the_sensitivity_of_a_linear_answer_is_its_slope(made):
    """Two classes with log-odds a·x: near p = ½ each probability moves by a quarter of a·noise, whose mean absolute
    value is √(2/π) · |a| · deviation."""
    slope = np.array([0.6, 0.0, -0.8, 0.0, 0.0, 0.0])
    artifact = made.Function(lambda x: np.stack([x @ slope, np.zeros(len(x))], axis=1), classes=2)
    x = np.zeros((3, 6), dtype=np.float32)
    draws = np.mean([samia.sensitivity(artifact, x, 0.01, seed) for seed in range(60)], axis=0)
    np.testing.assert_allclose(draws, np.full((3, 2), 0.25 * np.sqrt(2 / np.pi)), rtol=0.1)


def test_a_memorising_artifact_is_caught_and_an_honest_one_is_not(made):
    knowledge, members, nonmembers = made.quarters(200)
    targets = made.together(members, nonmembers)
    scores = samia.score(made.memoriser(knowledge.members, members), knowledge, targets)
    assert auc(scores.values[:200], scores.values[200:]) > 0.98
    assert ((scores.values >= scores.threshold) == (np.arange(400) < 200)).mean() > 0.95
    scores = samia.score(made.honest(), knowledge, targets)
    assert abs(auc(scores.values[:200], scores.values[200:]) - 0.5) < 0.087  # three standard errors


def test_the_order_of_the_classes_means_nothing():
    network = samia.make_network(0)
    answers, labels = torch.randn(5, 4, 2), torch.tensor([0, 1, 2, 3, 0])
    network.fit_scale(answers)
    order = torch.tensor([2, 0, 3, 1])
    moved = torch.argsort(order)[labels]
    torch.testing.assert_close(network(answers[:, order], moved), network(answers, labels))


def test_the_seed_decides_and_the_global_state_does_not(made):
    knowledge, members, _ = made.quarters(60)
    artifact = made.memoriser(knowledge.members)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = samia.score(artifact, knowledge, members)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = samia.score(artifact, knowledge, members)
    other = samia.score(artifact, Knowledge(knowledge.members, knowledge.nonmembers, seed=5), members)
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


def test_ten_pictures_of_one_class_and_answers_that_are_labels_are_enough_to_run(made):
    def pictures(seed):
        return Samples(np.random.default_rng(seed).normal(size=(10, 1, 5, 5)).astype(np.float32), np.full(10, 2))

    artifact = made.Function(lambda x: np.eye(4)[x.reshape(len(x), -1)[:, :4].argmax(1)])
    scores = samia.score(artifact, Knowledge(pictures(0), pictures(1)), pictures(2))
    assert scores.values.shape == (10,)
    assert np.isfinite(scores.values).all()
