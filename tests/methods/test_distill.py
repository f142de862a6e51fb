"""Distillation from a trained teacher: Hinton's loss by hand, every kind of teacher, and teachers that do not fit."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.compose import make_recipe
from safedeploy.compression import load
from safedeploy.errors import UserError
from safedeploy.methods.registry import make_method
from safedeploy.models.zoo import build_model
from safedeploy.recipe import MethodRecipe, ModelRecipe, TrainingRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.evaluate import predict
from safedeploy.training.loop import Training
from safedeploy.training.many import train_many

RECIPE = TrainingRecipe(epochs=4, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)


@pytest.fixture
def distill(toy):
    def make(options, method="dense", density=1.0, seed=0, **changes):
        recipe = MethodRecipe(name=method, density=density, defences={"distill": options})
        return make_method(recipe, replace(toy.context(density, seed), **{"model": ModelRecipe(name="mlp"), **changes}))

    return make


@pytest.fixture
def teacher(stranger):
    """An ONNX file that takes the toy's samples."""
    return stranger.save_model(stranger.model.with_name("teacher.onnx"), 3, 10)


@pytest.fixture
def begun(toy):
    def begin(hooks, log=lambda event: None):
        x, y = toy.tensors(toy.samples(100, 0))
        training = Training(toy.network(), x, y, RECIPE, 0, make_accelerator("cpu", "float32"), hooks, log)
        hooks.begin(training)
        return training

    return begin


def test_the_loss_worked_by_hand(distill, teacher):
    """T 2, weight ¾. Teacher's softened odds 3 to 1, student's at T 2 even: lesson ln 2; unsoftened even too: ln 2."""
    hooks = distill({"teacher": str(teacher), "weight": 0.75, "temperature": 2.0})
    training = SimpleNamespace(targets=torch.tensor([[0.75, 0.25]]), positions=lambda step: [0], step=0)
    even = hooks.loss(torch.zeros(1, 2), torch.tensor([0]), training)
    assert float(even) == pytest.approx(0.75 * 4 * math.log(2) + 0.25 * math.log(2))
    # logits 2 ln 3 to 0: softened 3 to 1 as taught, its entropy; unsoftened 9 to 1, −ln 0.9
    right = hooks.loss(torch.tensor([[2 * math.log(3), 0.0]]), torch.tensor([0]), training)
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert float(right) == pytest.approx(0.75 * 4 * entropy - 0.25 * math.log(0.9))


def test_at_a_high_temperature_the_gradient_is_that_of_matched_logits(distill, teacher):
    """Section 2.1 of the paper: (z − v) / N for logits of zero mean, T² having cancelled the temperature."""
    generator = torch.Generator().manual_seed(0)
    z, v = (part - part.mean(1, keepdim=True) for part in torch.randn(2, 1, 5, generator=generator).double())
    z.requires_grad_()
    hooks = distill({"teacher": str(teacher), "weight": 1.0, "temperature": 1e4})
    training = SimpleNamespace(targets=(v / 1e4).softmax(1), positions=lambda step: [0], step=0)
    hooks.loss(z, torch.tensor([0]), training).backward()
    assert torch.allclose(z.grad, (z.detach() - v) / 5, rtol=1e-3)


def test_a_file_teaches_what_it_answers(toy, distill, teacher, begun):
    events = []
    training = begun(distill({"teacher": str(teacher), "temperature": 3.0}), events.append)
    answers = torch.from_numpy(open_artifact(teacher).logits(toy.samples(100, 0).x))
    assert torch.allclose(training.targets, (answers / 3).softmax(1))
    right = (answers.argmax(1) == training.y).double().mean()
    assert events == [{"event": "teacher", "accuracy": pytest.approx(float(right))}]


def test_a_run_teaches_what_its_model_answers(distill, trained_run):
    images = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    hooks = distill({"teacher": str(trained_run)}, input_shape=(1, 8, 8), classes=10)
    hooks.check(torch.nn.Identity())
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    labels = torch.zeros(30, dtype=torch.int64)
    training = Training(
        network, images, labels, RECIPE, 0, make_accelerator("cpu", "float32"), hooks, lambda event: None
    )
    hooks.begin(training)
    assert torch.equal(training.targets, (predict(load(trained_run), images) / 2).softmax(1))


def test_without_a_teacher_the_initial_weights_teach_as_they_were_before_the_method_cut_them(
    toy, distill, begun, tmp_path
):
    whole = build_model("mlp", (10,), 3, 5)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    model = ModelRecipe(name="mlp", init=str(tmp_path / "whole.safetensors"))
    hooks = distill({"temperature": 1.0}, "set", 0.1, model=model)
    training = begun(hooks)
    assert torch.allclose(training.targets, predict(whole, training.x).softmax(1), atol=1e-6)


def test_a_student_of_a_good_teacher_beats_one_of_noisy_labels(toy, distill, teacher):
    """Four labels in ten are random; the teacher knows what they were."""
    x, fresh = (torch.from_numpy(toy.samples(count, seed).x) for count, seed in ((200, 0), (2000, 5)))
    truth, fresh_truth = (
        torch.from_numpy(open_artifact(teacher).logits(part.numpy()).argmax(1)) for part in (x, fresh)
    )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(3, (200,), generator=generator)
    y = torch.where(torch.rand(200, generator=generator) < 0.6, truth, noise)

    def accuracy(hooks):
        module = build_model("mlp", (10,), 3, 0)
        train_many([module], (x, y), [np.arange(200)], [hooks], RECIPE.model_copy(update={"epochs": 40}), [0])
        return float((predict(module, fresh).argmax(1) == fresh_truth).double().mean())

    taught = accuracy(distill({"teacher": str(teacher), "weight": 1.0}))
    alone = accuracy(make_method(MethodRecipe(name="dense", density=1.0), toy.context(1.0)))
    assert taught > alone + 0.1


def test_a_stack_teaches_each_model_what_it_learns_alone(toy, distill, teacher):
    x, y = toy.tensors(toy.samples(160, 0))
    rows = [np.random.default_rng(k).permutation(160)[:100] for k in range(3)]

    def trained(together):
        modules = [build_model("mlp", (10,), 3, k) for k in range(3)]
        hooks = [distill({"teacher": str(teacher)}, "set", 0.3, seed=k) for k in range(3)]
        for some in [range(3)] if together else [[k] for k in range(3)]:
            parts = [[part[k] for k in some] for part in (modules, rows, hooks)]
            train_many(parts[0], (x, y), parts[1], parts[2], RECIPE, list(some), processes=1)
        return [module.state_dict() for module in modules]

    for ours, alone in zip(trained(True), trained(False), strict=True):
        assert all(torch.allclose(ours[name], value, atol=1e-4) for name, value in alone.items())


def test_a_run_that_is_cut_off_ends_with_the_same_bits(toy, distill, teacher, tmp_path):
    whole = toy.train(tmp_path / "whole", distill({"teacher": str(teacher)}))
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(distill({"teacher": str(teacher)}), 33))
    teacher.unlink()  # its answers are in the checkpoint
    resumed = toy.train(tmp_path / "cut", distill({"teacher": str(teacher)}))
    toy.assert_same_bits(whole, resumed)


def test_no_teacher_at_all_is_one_line(distill):
    with pytest.raises(
        UserError, match=r"--defence distill has no teacher: add --option distill.teacher=FILE, or --in"
    ):
        distill({})


def test_teachers_that_do_not_fit_are_refused_before_anything_is_trained(distill, stranger, trained_run, tmp_path):
    def fault(teacher, **changes):
        with pytest.raises(UserError) as caught:
            distill({"teacher": str(teacher)}, **changes).check(torch.nn.Identity())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "takes (6,) and tells 3 classes apart, this run's model (10,) and 3: it cannot teach" in fault(
        stranger.model
    )
    assert "does not exist" in fault(tmp_path / "nothing.onnx")
    assert "is not a run" in fault(tmp_path)
    assert "'fc1.weight' is (256, 64) there and (256, 10) in mlp" in fault(trained_run)
    assert "tells other classes apart than the 7 here" in fault(trained_run, input_shape=(1, 8, 8), classes=7)


def test_a_teacher_is_found_again_from_any_folder(home):
    (home / "t.onnx").touch()
    recipe = make_recipe(defences=["distill"], options={"distill.teacher": "t.onnx"})
    assert recipe.method.defences["distill"]["teacher"] == str((home / "t.onnx").resolve())
