"""--init from the command line to references: a run that begins with trained weights, and one line where it cannot."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from safedeploy.compression import load
from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model
from safedeploy.recipe import read_recipe
from safedeploy.references import make_references

USUAL = (
    "compress",
    "--data",
    "digits",
    "--model",
    "mlp",
    "--epochs",
    "1",
    "--learning-rate",
    "1e-9",
    "--device",
    "cpu",
)


@pytest.fixture
def weights(home):
    """Weights of digits' mlp that no training of one tiny step moves."""
    own = {name: value + 0.01 for name, value in build_model("mlp", (1, 8, 8), 10, 9).state_dict().items()}
    save_file(own, home / "trained.safetensors")
    return own


def made(typed, *more):
    answer = typed(*USUAL, "--name", "r", "--init", "trained.safetensors", "--json", *more)
    assert answer.code == 0, answer.err
    return json.loads(answer.out), answer.err


def test_a_dense_training_goes_on_from_the_weights_it_is_given(typed, home, weights):
    summary, told = made(typed, "--method", "dense")
    assert summary["init"] == str((home / "trained.safetensors").resolve())
    assert summary["init_anew"] == []
    assert f"train dense from {home / 'trained.safetensors'}" in told.replace("\n", "")
    for name, value in load("runs/r").state_dict().items():
        assert torch.allclose(value, weights[name], atol=1e-5)


def test_a_sparse_training_begins_with_the_largest_weights_as_they_are(typed, home, weights):
    """No update within one short epoch replaces any but the smallest of them, and nothing is rescaled."""
    made(typed, "--method", "set", "--density", "0.2", "--option", "rate_start=0.0001", "--option", "rate_end=0")
    stored = load_file(home / "runs" / "r" / "model.safetensors")
    kept, own = stored["mask:fc1.weight"], weights["fc1.weight"]
    assert torch.allclose(stored["fc1.weight"][kept], own[kept], atol=1e-5)
    cut = own.abs().flatten().sort(descending=True).values[int(kept.sum()) - 1]
    assert ((own.abs() > cut) & ~kept).sum() <= 10  # of 3,000: those that updates grew elsewhere
    assert kept.sum() < own.numel() / 2


def test_references_begin_with_the_same_weights_or_not_at_all(home, weights, trained_run):
    recipe = read_recipe(trained_run / "recipe.toml")
    shutil.copytree(trained_run, home / "run")
    init = recipe.model.model_copy(update={"init": str(home / "trained.safetensors")})
    recipe.model_copy(update={"model": init}).write(home / "run" / "recipe.toml")
    summary = json.loads((home / "run" / "summary.json").read_text())
    (home / "run" / "summary.json").write_text(json.dumps(summary | {"init_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"trained.safetensors holds other weights than .*run began with: give them"):
        make_references(home / "run", 2)


def test_a_misfit_is_one_line_and_leaves_nothing(typed, home, weights):
    np.savez(home / "w.npz", x=np.zeros(3))
    for init, said in (
        ("nothing.safetensors", "there is no"),
        ("w.npz", "is no safetensors file"),
        ("torchvision:resnet", "unknown torchvision model 'resnet'"),
    ):
        assert said in typed(*USUAL, "--method", "dense", "--init", init).fault
    fault = typed(*(USUAL[:4]), "lenet5", *USUAL[5:], "--init", "trained.safetensors").fault
    assert "lacks 'conv1.weight' of lenet5" in fault
    assert not (home / "runs").exists()


def test_a_run_is_an_init_and_resumes_beside_it(typed, home, weights):
    made(typed, "--method", "dense")
    answer = typed(*USUAL, "--name", "s", "--method", "rigl", "--density", "0.3", "--init", "runs/r", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["init"] == str(home / "runs" / "r")
    assert typed("compress", "--resume", "runs/s").code == 0
