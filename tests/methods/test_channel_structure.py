"""`--method magnitude --structure channel`: channels go once, stay away in training, and are gone from what ships."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.registry import METHODS, make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.sparsity.shrink import shrink
from safedeploy.training.device import make_accelerator
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.many import train_many
from safedeploy.training.run import run_training

SHAPE = (1, 8, 8)
RECIPE = TrainingRecipe(epochs=4, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
            nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3),
        )  # fmt: skip


def hooks(toy, density=0.4, **options):
    recipe = MethodRecipe(name="magnitude", density=density, structure="channel", options=options)
    known = toy.samples(20, 0)
    return make_method(recipe, Context(density, 0, 3, SHAPE, known, known, known, structure="channel"))


def images(count=100, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *SHAPE, generator=generator), torch.randint(3, (count,), generator=generator)


@pytest.fixture(scope="module", params=[{}, {"prune_from": 0.0}], ids=["at once", "gradual"])
def trained(toy, tmp_path_factory, request):
    folder, module = tmp_path_factory.mktemp("channel"), network()
    files = {"metrics": folder / "metrics.jsonl", "checkpoints": folder / "checkpoints"}
    training = run_training(module, images(), images(seed=1), hooks(toy, **request.param), RECIPE, 0, **files)
    return module, training


def test_masked_weights_biases_and_norms_are_zero_after_training(trained):
    module, training = trained
    parameters = dict(module.named_parameters())
    assert {"0.weight", "1.weight", "1.bias", "3.bias", "7.bias", "8.bias", "11.weight"} <= set(training.masks)
    assert any(not mask.all() for mask in training.masks.values())
    for name, mask in training.masks.items():
        assert (parameters[name][~mask] == 0).all()
        assert (parameters[name][mask] != 0).any()


def test_what_ships_has_no_such_channel_and_the_same_answers(trained):
    module, training = trained
    smaller = shrink(module, SHAPE)
    masked = sum(int(mask.sum()) for mask in training.masks.values())
    whole = sum(weight.numel() for name, weight in module.named_parameters() if name not in training.masks)
    assert sum(weight.numel() for weight in smaller.parameters()) == masked + whole
    x, _ = images(seed=2)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)


def test_training_on_with_the_mask_is_training_the_smaller_model(toy):
    """The same batches from the cut on: masked weights, and the weights of the module without them, stay together."""
    recipe = RECIPE.model_copy(update={"epochs": 2, "milestones": [0.9]})
    accelerator, (x, y) = make_accelerator("cpu", "float32"), images()
    module = network()
    masked = Training(module, x, y, recipe, 0, accelerator, hooks(toy, prune_at=0.01), lambda event: None)
    module.train()
    masked.hooks.begin(masked)
    masked.one_step()
    masked.hooks.after_step(masked)
    masked.optimizer.state.clear()  # the smaller module begins without momentum
    smaller = shrink(module, SHAPE).train()
    beside = Training(smaller, x, y, recipe, 0, accelerator, Hooks(), lambda event: None)
    beside.step = masked.step
    train(masked, after_epoch=lambda training: None)
    train(beside, after_epoch=lambda training: None)
    with torch.no_grad():
        torch.testing.assert_close(smaller.eval()(x), module.eval()(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if "channel" not in entry.structures])
def test_methods_without_channels_say_which_have_them(toy, name):
    density = 0.2 if METHODS[name].sparse else 1.0
    with pytest.raises(UserError, match=r"--structure channel choose --method magnitude or "):
        make_method(MethodRecipe(name=name, density=density, structure="channel"), toy.context(density))


def test_networks_trained_in_one_stack_lose_their_own_channels(toy):
    """Stacked trainings have the masks, zeros and answers that each has alone."""
    known = toy.samples(60, 0)
    recipe = MethodRecipe(name="magnitude", density=0.4, structure="channel")

    def make(seed):
        return make_method(recipe, Context(0.4, seed, 3, (10,), known, known, known, structure="channel"))

    rows = [np.arange(0, 60), np.arange(20, 80)]
    pool = toy.tensors(toy.samples(80, 0))
    training = toy.recipe.model_copy(update={"momentum": 0.9})
    stacked = [without_dropout(toy.network(seed)) for seed in (0, 1)]
    alone = [without_dropout(toy.network(seed)) for seed in (0, 1)]
    train_many(stacked, pool, rows, [make(0), make(1)], training, [0, 1])
    for seed, module in enumerate(alone):
        train_many([module], pool, [rows[seed]], [make(seed)], training, [seed])
        smaller, wanted = shrink(stacked[seed], (10,)), shrink(module, (10,))
        assert smaller[0].out_features == wanted[0].out_features < 60
        with torch.no_grad():
            torch.testing.assert_close(smaller(pool[0]), wanted(pool[0]), rtol=1e-3, atol=1e-4)


def without_dropout(module):
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return module
