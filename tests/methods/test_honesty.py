"""What a model is judged on later has no say in its training: evaluation roles and `test` reach no method."""

import dataclasses

import numpy as np
import pytest

from safedeploy import compression, pipeline
from safedeploy.data.samples import Samples, content_hashes
from safedeploy.methods.base import Context
from safedeploy.recipe import ModelRecipe, TrainingRecipe, validate

UPDATES = {"interval": 5, "gradient_steps": 2}
TESTS = {"test_every": 2, "candidate_steps": 3, "first_steps": 5, "attacker_steps": 2}


def recipe_for(source, method="safecompress"):
    options = UPDATES | TESTS if method == "safecompress" else UPDATES
    return validate(
        {
            "name": "run",
            "data": {"source": str(source)},
            "model": {"name": "mlp"},
            "method": {"name": method, "density": 0.2, "options": options},
            "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, "device": "cpu"},
        },
        "test",
    )


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 8)).astype(np.float32), np.arange(600) % 3
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


def test_a_method_is_given_the_known_roles_and_validation(data):
    examples, _, hooks = compression.prepared(recipe_for(data), None)
    for part, role in (("members", "member_known"), ("nonmembers", "nonmember_known"), ("validation", "validation")):
        given, meant = getattr(hooks.context, part), examples.samples(role)
        np.testing.assert_array_equal(given.x, meant.x)
        np.testing.assert_array_equal(given.y, meant.y)
    for part in ("members", "nonmembers", "validation"):
        given = content_hashes(getattr(hooks.context, part).x)
        for role in ("member_eval", "nonmember_eval", "test", "population"):
            assert not given & content_hashes(examples.samples(role).x)


def test_a_context_holds_no_other_samples():
    held = {field.name: field.type for field in dataclasses.fields(Context)}
    samples = ["members", "nonmembers", "validation"]
    assert [name for name, kind in held.items() if kind is Samples] == samples
    assert held.keys() - samples == {"density", "seed", "classes", "input_shape", "structure", "model", "training"}
    assert (held["model"], held["training"]) == (ModelRecipe, TrainingRecipe)  # what the user typed


@pytest.mark.parametrize("method", ["safecompress", "set"])
def test_other_evaluation_and_test_examples_train_the_same_model_bit_for_bit(data, tmp_path, method):
    """Non-members to be judged, `test` and population exchanged for noise: weights and every logged decision stay."""
    examples, _, _ = compression.prepared(recipe_for(data, method), None)
    later = examples.split.indices("nonmember_eval", "test", "population")
    assert later.size > 150
    content = dict(np.load(data))
    content["x"][later] = 1e3 * np.random.default_rng(1).normal(size=(later.size, 8))
    np.savez(tmp_path / "other.npz", **content)
    made = []
    for source in (data, tmp_path / "other.npz"):
        run = pipeline.compress(recipe_for(source, method), tmp_path / source.stem)
        made.append((run.weights.read_bytes(), run.metrics.read_bytes()))
    assert made[0] == made[1]
    assert b'"chosen": true' in made[0][1] or method == "set"
