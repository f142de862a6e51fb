"""Attribute inference as a tester of SafeCompress' candidates; a third attack is one more file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import nn

import safedeploy.methods.testers as testers
from safedeploy import compression
from safedeploy.data.split import read_split
from safedeploy.errors import UserError
from safedeploy.methods.registry import make_method
from safedeploy.methods.safety import SafetyTest
from safedeploy.methods.testers.base import Effort
from safedeploy.recipe import MethodRecipe, validate
from safedeploy.training.run import run_training

OFTEN = {"interval": 5, "gradient_steps": 2, "test_every": 2, "candidate_steps": 3, "test_samples": 50}


@pytest.fixture
def context(toy):
    """200 known samples whose attribute is the sign of column 5, which tells nothing of the label."""

    def of(value=lambda part: part.x[:, 5] > 0):
        known = toy.context()
        with_it = {
            name: replace(getattr(known, name), sensitive=np.asarray(value(getattr(known, name))).astype(np.int64))
            for name in ("members", "nonmembers", "validation")
        }
        return replace(known, **with_it)

    return of


def linear(weight):
    """A network of one layer: its inner features are its inputs."""
    module = nn.Sequential(nn.Linear(*weight.T.shape))
    with torch.no_grad():
        module[0].weight.copy_(torch.from_numpy(weight))
        module[0].bias.zero_()
    return module.eval()


def success(context, module, name="attribute"):
    test = SafetyTest(context, [name], 50, Effort())
    test.begin(module)
    (outcome,) = test.judge([test.observe(module)])
    return outcome.attack[name]


def telling(column, scale=3.0):
    weight = np.zeros((3, 10), np.float32)
    weight[:, column] = [scale, -scale, 0]
    return linear(weight)


def test_answers_that_tell_the_attribute_are_certainty_and_others_chance(context):
    assert success(context(), telling(5)) > 0.97
    assert abs(success(context(), telling(7)) - 0.5) < 0.12


def test_inner_features_tell_what_the_answers_leave_out(context):
    assert success(context(), telling(7), "attribute-white") > 0.95


def test_success_is_the_auc_beyond_what_the_label_tells(context, toy):
    """Of an attribute that is the label but for noise: scikit-learn's AUC of answers and label over that of labels."""
    known = context(lambda part: (part.y == 0) ^ (np.random.default_rng(len(part.y)).random(len(part.y)) < 0.2))
    module = telling(0, 0.3)
    test = SafetyTest(known, ["attribute"], 50, Effort())
    parts = [test.known.members, test.known.nonmembers, test.known.judged]

    def reached(rows):
        learned, values = np.concatenate(rows[:2]), np.concatenate([part.sensitive for part in parts[:2]])
        scale = StandardScaler().fit(learned)
        model = LogisticRegression(max_iter=1000).fit(scale.transform(learned), values)
        return roc_auc_score(parts[2].sensitive, model.predict_proba(scale.transform(rows[2]))[:, 1])

    labels = [np.eye(3)[part.y] for part in parts]
    with torch.no_grad():
        answers = [torch.log_softmax(module(torch.from_numpy(part.x)).double(), 1).numpy() for part in parts]
    floor = reached(labels)
    assert floor > 0.7
    beyond = reached([np.concatenate(pair, axis=1) for pair in zip(answers, labels, strict=True)]) - floor
    assert success(known, module) == pytest.approx(0.5 + 0.5 * beyond / (1 - floor), abs=1e-6)


def test_values_count_alike_and_those_that_few_hold_do_not_count(context):
    """Three values of which one is rare: it takes no part, and the other two are told apart."""

    def value(part):
        rare = np.arange(len(part.y)) < 4
        return np.where(rare, 2, part.x[:, 5] > 0)

    tester = testers.make_tester(
        "attribute", SafetyTest(context(value), [], 50, Effort()).known, context(value), Effort()
    )
    assert tester.counted == [0, 1]
    assert success(context(value), telling(5)) > 0.9


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "tester attribute needs a sensitive column: name it with --sensitive COLUMN"),
        (lambda part: np.arange(len(part.y)) < 5, "needs 10 known samples in either half that hold a value"),
    ],
)
def test_without_an_attribute_or_enough_who_hold_it_is_one_line_before_training(context, toy, value, said):
    known = toy.context() if value is None else context(value)
    with pytest.raises(UserError, match=said) as caught:
        make_method(MethodRecipe(density=0.2, options={"testers": ["attribute"]}), known)
    assert "\n" not in str(caught.value)


def candidates(toy, context, tmp_path, names):
    """What a short training logs of its candidates."""
    hooks = make_method(MethodRecipe(density=0.2, options=OFTEN | {"testers": names}), context)
    files = {"metrics": tmp_path / "metrics.jsonl", "checkpoints": tmp_path / "checkpoints"}
    members, validation = (toy.tensors(part) for part in (context.members, context.validation))
    run_training(toy.network(), members, validation, hooks, toy.recipe, 0, **files)
    events = [json.loads(line) for line in files["metrics"].read_text().splitlines()]
    return [event for event in events if event["event"] == "candidate"]


def test_a_training_is_tested_by_it_beside_the_papers_attackers(toy, context, tmp_path):
    found = candidates(toy, context(), tmp_path, ["attribute", "neural-black"])
    assert len(found) >= 4
    for event in found:
        assert set(event["attack_success"]) == {"attribute", "neural-black"}
        strongest = max(0.5, *event["attack_success"].values())
        assert event["score"] == pytest.approx(event["task_accuracy"] / strongest)


def test_a_run_that_was_cut_off_ends_with_the_same_bits(toy, context, tmp_path):
    options = OFTEN | {"testers": ["attribute", "attribute-white"]}
    hooks = [make_method(MethodRecipe(density=0.2, options=options), context()) for _ in range(3)]
    whole = toy.train(tmp_path / "whole", hooks[0])
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(hooks[1], 25))
    resumed = toy.train(tmp_path / "cut", hooks[2])
    toy.assert_same_bits(whole, resumed)


def test_the_values_of_those_who_are_judged_later_have_no_say(tmp_path):
    """Exchanged in the evaluation roles, `test` and population alone: weights and every logged decision stay."""
    rng = np.random.default_rng(0)
    content = {"x": rng.normal(size=(600, 8)).astype(np.float32), "y": np.arange(600) % 3}
    content["sensitive"] = (content["x"][:, 0] > 0).astype(int)
    made = []
    for name in ("first", "second"):
        np.savez(tmp_path / f"{name}.npz", **content)
        recipe = validate(
            {
                "name": "run",
                "data": {"source": str(tmp_path / f"{name}.npz")},
                "model": {"name": "mlp"},
                "method": {"name": "safecompress", "density": 0.2, "options": OFTEN | {"testers": ["attribute"]}},
                "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, "device": "cpu"},
            },
            "test",
        )
        run = compression.compress(recipe, tmp_path / name)
        made.append((run.weights.read_bytes(), run.metrics.read_bytes()))
        later = read_split(run.split).indices("member_eval", "nonmember_eval", "test", "population")
        content["sensitive"][later] = 1 - content["sensitive"][later]
    assert made[0] == made[1]
    assert b'"attack_success": {"attribute": ' in made[0][1]


THIRD = '''
"""A third attack: who is told the answers' entropy guesses whether the first input is positive."""

from scipy.special import softmax, xlogy

from safedeploy.methods.testers.base import Tester
from safedeploy.roc import auc


class Entropy(Tester):
    def observe(self, artifact):
        judged = self.known.judged
        p = softmax(artifact.logits(judged.x).astype("float64"), axis=1)
        entropy, held = -xlogy(p, p).sum(axis=1), judged.x[:, 0] > 0
        return max(auc(entropy[held], entropy[~held]), auc(entropy[~held], entropy[held]))

    def judge(self, observed):
        return list(observed)


def make(name, known, context, effort):
    return Entropy(known, context, effort)
'''


def test_a_third_attack_is_one_file_and_its_name(toy, context, tmp_path, monkeypatch):
    (tmp_path / "entropy_of_inputs.py").write_text(THIRD)
    monkeypatch.setattr(testers, "__path__", [*testers.__path__, str(tmp_path)])
    monkeypatch.setitem(testers.TESTERS, "entropy-of-inputs", "entropy_of_inputs")
    found = candidates(toy, context(), tmp_path, ["entropy-of-inputs"])
    assert found
    assert all(0.5 <= event["attack_success"]["entropy-of-inputs"] <= 1 for event in found)
