"""An audit from recorded answers alone says what an audit of the file that gave them says."""

import json

import numpy as np
import pytest

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.artifacts.recorded import RecordedArtifact
from safedeploy.audit.scores import read_scores
from safedeploy.errors import UserError

RNG = np.random.default_rng(0)


def content(n=40, classes=3, **changed):
    arrays = {
        "logits": RNG.normal(size=(n, classes)),
        "y": np.arange(n) % classes,
        "member": np.arange(n) % 2 == 0,
    }
    return {name: values for name, values in (arrays | changed).items() if values is not None}


def saved(path, **changed):
    np.savez(path, **content(**changed))
    return path


def test_rows_are_told_apart_and_answered_as_recorded(tmp_path):
    arrays = content()
    np.savez(tmp_path / "s.npz", **arrays)
    recorded = read_scores(tmp_path / "s.npz")
    inside = np.flatnonzero(arrays["member"])
    np.testing.assert_array_equal(recorded.members.x[:, 0], inside)
    np.testing.assert_array_equal(recorded.members.y, arrays["y"][inside])
    np.testing.assert_array_equal(
        recorded.artifact.logits(recorded.nonmembers.x), arrays["logits"][~arrays["member"]].astype(np.float32)
    )
    assert recorded.references is None


def test_probabilities_count_as_their_logarithms(tmp_path):
    p = RNG.dirichlet(np.ones(3), size=40)
    recorded = read_scores(saved(tmp_path / "s.npz", logits=None, probabilities=p))
    np.testing.assert_allclose(np.exp(recorded.artifact.logits(recorded.artifact.rows)), p, rtol=1e-5)


def test_references_answers_belong_to_their_rows(tmp_path):
    logits, flags = RNG.normal(size=(4, 40, 3)), RNG.random((4, 40)) < 0.5
    recorded = read_scores(saved(tmp_path / "s.npz", reference_logits=logits, reference_member=flags))
    assert recorded.references is not None
    answers = recorded.references.of(recorded.members)
    rows = recorded.members.x[:, 0].astype(int)
    np.testing.assert_array_equal(answers.member, flags[:, rows])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(p[:, rows], recorded.members.y[None, :, None], axis=2)[..., 0]
    np.testing.assert_allclose(answers.phi[..., 0], np.log(own / (1 - own)), rtol=1e-4, atol=1e-6)


def test_an_input_that_was_not_recorded_has_no_answer(tmp_path):
    artifact = RecordedArtifact(tmp_path / "s.npz", np.zeros((3, 2), dtype=np.float32))
    for rows in ([[0.5]], [[3.0]], [[-1.0]]):
        with pytest.raises(Unopenable, match="cannot be asked about other inputs"):
            artifact.logits(np.array(rows, dtype=np.float32))
    with pytest.raises(Unopenable, match="nothing of the model's inside"):
        artifact.unpack()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"logits": None}, "neither 'logits' nor 'probabilities'"),
        ({"y": None}, "no array 'y'"),
        ({"member": None}, "no array 'member'"),
        ({"logits": np.zeros((40, 1))}, "two classes or more"),
        ({"logits": np.full((40, 3), np.nan)}, "NaN"),
        ({"y": np.full(40, 3)}, "out of range 0 to 2"),
        ({"y": np.zeros(39)}, "40 rows of answers and 39 labels in y"),
        ({"logits": np.zeros((0, 3)), "y": np.zeros(0), "member": np.zeros(0)}, "holds no rows"),
        ({"logits": None, "probabilities": np.zeros((0, 3)), "y": np.zeros(0)}, "holds no rows"),
        ({"member": np.full(40, 2)}, "0 or 1"),
        ({"logits": None, "probabilities": np.ones((40, 3))}, "add up to 1"),
        ({"reference_member": np.zeros((2, 40))}, "neither 'reference_logits'"),
        ({"reference_logits": np.zeros((2, 39, 3)), "reference_member": np.zeros((2, 39))}, "not (K, 40, 3)"),
        ({"reference_logits": np.zeros((2, 40, 3)), "reference_member": np.zeros((3, 40))}, "reference_member"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_array_s_name(tmp_path, changed, said):
    with pytest.raises(UserError) as caught:
        read_scores(saved(tmp_path / "s.npz", **changed))
    assert said in str(caught.value)
    assert "s.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_figures_are_those_of_the_file_that_answered(typed, leaking, home):
    """The same halves, since they are drawn by class and seed; attacks that ask anew cannot run."""
    artifact, sides = open_artifact(leaking.model), [np.load(path) for path in (leaking.members, leaking.nonmembers)]
    np.savez(
        home / "scores.npz",
        logits=np.concatenate([artifact.logits(side["x"]) for side in sides]),
        y=np.concatenate([side["y"] for side in sides]),
        member=np.repeat([True, False], [len(side["y"]) for side in sides]),
    )
    asked = ["--attacks", "loss,entropy-by-class,neural-black,neural-white", "--json"]
    of_file = json.loads(
        typed("audit", leaking.model, "--members", leaking.members, "--nonmembers", leaking.nonmembers, *asked).out
    )
    of_scores = json.loads(typed("audit", "--scores", "scores.npz", *asked).out)
    figures = [
        [
            (attack["name"], attack["auc"], [point["tpr"] for point in attack["tpr"]])
            for attack in evidence["attacks"]
            if attack["access"] == "black"
        ]
        for evidence in (of_file, of_scores)
    ]
    assert len(figures[0]) == 3
    assert figures[0] == figures[1]
    assert [left["name"] for left in of_scores["not_run"]] == ["neural-white"]
    assert set(of_scores["controls"]["missing"]) == {"blind", "dense"}
    assert of_scores["artifact"]["format"] == "scores"


def test_scores_stand_alone_and_budgets_hold_for_them(typed, home):
    saved(home / "s.npz", n=200)
    assert "leave out model.onnx" in typed("audit", "model.onnx", "--scores", "s.npz").fault
    assert "leave out --references" in typed("audit", "--scores", "s.npz", "--references", "refs").fault
    needless = typed("audit", "--scores", "s.npz", "--canaries", "--data-root", "d").fault
    assert "leave out --canaries, --data-root" in needless
    logits = np.zeros((400, 3))
    logits[np.arange(400), np.arange(400) % 3] = np.where(np.arange(400) % 2 == 0, 9, RNG.normal(size=400))
    saved(home / "leaks.npz", n=400, logits=logits)
    assert typed("audit", "--scores", "leaks.npz", "--budget", "auc=0.6").code == 3
