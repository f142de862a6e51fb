"""`--quantise`: the loss is of the weights that exporters would write, and what training changes are the exact ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn import functional

from safedeploy.errors import UserError
from safedeploy.export.encoding.values import round_values
from safedeploy.export.onnx import export_onnx
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import load_target
from safedeploy.export.weight_scales import rounded_up
from safedeploy.methods.base import Context
from safedeploy.methods.grids import fitted_palette, int8, nearest
from safedeploy.methods.quantised import QuantisationAware
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe, validate
from safedeploy.training.device import make_accelerator
from safedeploy.training.loop import Training, train
from safedeploy.training.many import train_many
from safedeploy.training.run import run_training

SHAPE = (2, 8, 8)
RECIPE = TrainingRecipe(epochs=4, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)
FLOATS = st.floats(-4, 4, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=FLOATS)


def network(seed=0):
    """A convolution with a batch norm behind it, one without, and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(128, 3),
        )  # fmt: skip


def images(count=100, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *SHAPE, generator=generator)
    return x, (x.mean(dim=(1, 2, 3)) * 8).long().clamp(-1, 1) + 1


def context(toy, density=1.0):
    known = toy.samples(20, 0)
    return Context(density, 0, 3, SHAPE, known, known, known)


def hooks_of(toy, values="int8", method="dense", density=1.0, options=None):
    recipe = MethodRecipe(name=method, density=density, options=options or {}, quantise=values, quantise_at=0.5)
    return make_method(recipe, context(toy, density))


def training_of(hooks, recipe=RECIPE):
    module = network().train()
    return Training(module, *images(), recipe, 0, make_accelerator("cpu", "float32"), hooks, lambda event: None)


def test_int8_by_hand():
    """Largest 12.7: over 127 is 0.1, of five bits 0.1015625 = 13/128. 1 is 9.85 steps, -0.3 is -2.95, 0.05 is 0.49."""
    found = int8(torch.tensor([[12.7, 1.0, -0.3, 0.05, 0.0]]))
    assert found.tolist() == [[125 * 13 / 128, 10 * 13 / 128, -3 * 13 / 128, 0.0, 0.0]]


@given(MATRICES)
@settings(max_examples=100, deadline=None)
def test_int8_is_on_the_exporters_scales_and_misses_by_half_a_step(weight):
    found = int8(torch.from_numpy(weight)).numpy()
    step = rounded_up(np.maximum(np.abs(weight).max(axis=1), np.float32(1e-4)) / np.float32(127))[:, None]
    levels = found / step
    assert np.abs(levels - np.rint(levels)).max() < 1e-4
    assert np.abs(levels).max() <= 127
    assert (np.abs(found - weight) <= 0.5001 * step).all()


@given(MATRICES, st.integers(4, 8))
@settings(max_examples=100, deadline=None)
def test_a_palette_has_no_more_values_than_its_bits_and_is_what_the_export_leaves(weight, bits):
    tensor = torch.from_numpy(weight)
    palette = fitted_palette(tensor, bits)
    rounded = nearest(tensor, palette)
    assert len(rounded[rounded != 0].unique()) <= 2**bits
    assert ((rounded == 0) == (tensor == 0)).all()
    assert torch.equal(torch.from_numpy(round_values(rounded.numpy(), f"palette{bits}")), rounded)


def test_a_palette_misses_no_more_than_the_exporters_own():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 100, generator=generator)
    for bits in (4, 6):
        ours = nearest(weight, fitted_palette(weight, bits))
        theirs = torch.from_numpy(round_values(weight.numpy(), f"palette{bits}"))
        assert (ours - weight).square().mean() < 1.1 * (theirs - weight).square().mean()


def test_a_step_is_the_straight_through_estimators(toy):
    """By hand: the gradient is taken at the rounded weights and applied to the exact ones."""
    recipe = RECIPE.model_copy(update={"momentum": 0.0, "weight_decay": 0.0, "epochs": 2})
    training = training_of(QuantisationAware("int8", 0.01, context(toy)), recipe)
    training.one_step()
    exact = {name: value.detach().clone() for name, value in training.parameters.items()}
    training.hooks.after_step(training)
    assert torch.equal(training.parameters["6.weight"], int8(exact["6.weight"]))
    beside = network().train()
    beside.load_state_dict(training.module.state_dict())
    x, y = training.batch(training.step)
    functional.cross_entropy(beside(x), y).backward()
    training.one_step()
    for name, value in beside.named_parameters():
        torch.testing.assert_close(training.parameters[name], exact[name] - 0.05 * value.grad, rtol=1e-5, atol=1e-6)


def test_weights_are_exact_up_to_the_share_of_steps_and_rounded_from_then_on(toy):
    training = training_of(hooks_of(toy))
    seen = []

    def look(training):
        weight = training.parameters["6.weight"].detach()
        seen.append(torch.equal(weight, int8(weight)))

    after_step = training.hooks.after_step
    training.hooks.after_step = lambda training: (after_step(training), look(training))
    train(training, after_epoch=lambda training: None)
    assert seen[:9] == [False] * 9
    assert sum(seen[9:]) >= 8  # another rounding may move a channel whose largest weight was rounded down


@pytest.mark.parametrize("values", ["int8", "palette4"])
def test_the_file_holds_the_weights_that_were_trained_batch_norm_and_all(toy, tmp_path, values):
    """Answers of the exported file, whose weights are rounded once more, are those of the module as it was trained."""
    training = training_of(hooks_of(toy, values))
    train(training, after_epoch=lambda training: None)
    module = training.module.eval()
    norm: nn.BatchNorm2d = module[1]
    folded = module[0].weight * (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)
    for weight in (folded.detach(), module[3].weight.detach(), module[6].weight.detach()):
        if values == "int8":
            torch.testing.assert_close(int8(weight), weight, rtol=1e-5, atol=1e-6)
        else:
            again = torch.from_numpy(round_values(weight.numpy(), values))
            torch.testing.assert_close(again, weight, rtol=1e-4, atol=1e-5)
    if values == "int8":
        export_onnx(module, SHAPE, tmp_path / "model.onnx", opset=20, model_name="small")
        x = images()[0].numpy()
        quantise_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx", x, load_target("android").quantisation)
        stored = _int8_weights(tmp_path / "int8.onnx")
        expected = sorted(
            float(w.detach().double().square().sum()) for w in (folded, module[3].weight, module[6].weight)
        )
        assert sorted(stored) == pytest.approx(expected, rel=1e-4)


def _int8_weights(path):
    """The sum of squares of each weight that a file holds as int8."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored and stored[node.input[0]].ndim > 1:
            levels, scale = stored[node.input[0]], stored[node.input[1]]
            found.append(float(np.square(levels * scale.reshape(-1, *[1] * (levels.ndim - 1))).sum()))
    return found


@pytest.mark.parametrize(("method", "options"), [("magnitude", {"prune_at": 0.7}), ("set", {"interval": 3})])
def test_masks_hold_also_those_that_change_after_the_rounding_began(toy, method, options):
    training = training_of(hooks_of(toy, method=method, density=0.3, options=options))
    train(training, after_epoch=lambda training: None)
    assert training.masks
    for name, mask in training.masks.items():
        assert (training.parameters[name][~mask] == 0).all()
        weight = training.parameters[name].detach()
        if name != "0.weight":
            assert torch.equal(weight, int8(weight))


def test_training_on_rounded_weights_answers_better_than_rounding_afterwards(toy):
    """With 16 values a layer, the mean loss of what ships on the members, over three trainings."""
    recipe = RECIPE.model_copy(update={"epochs": 40})

    def loss(seed, **rounded):
        hooks = make_method(MethodRecipe(name="dense", density=1.0, **rounded), context(toy))
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3)).train()
        x, y = toy.tensors(toy.samples(200, seed))
        accelerator = make_accelerator("cpu", "float32")
        train(
            Training(module, x, y, recipe, seed, accelerator, hooks, lambda event: None), after_epoch=lambda one: None
        )
        with torch.no_grad():
            for layer in (module[0], module[2], module[4]):
                layer.weight.copy_(torch.from_numpy(round_values(layer.weight.numpy(), "palette4")))
        return float(functional.cross_entropy(module(x), y).detach())

    seeds = range(3)
    trained = sum(loss(seed, quantise="palette4", quantise_at=0.5) for seed in seeds)
    after = sum(loss(seed) for seed in seeds)
    assert trained < after


@pytest.mark.parametrize("values", ["int8", "palette5"])
def test_a_training_cut_off_while_weights_are_rounded_ends_with_the_same_bits(toy, tmp_path, values):
    def hooks():
        return hooks_of(toy, values, "magnitude", 0.4, {"prune_at": 0.3})

    def run(folder, hooks):
        module = network()
        files = {"metrics": folder / "metrics.jsonl", "checkpoints": folder / "checkpoints"}
        run_training(module, images(), images(seed=1), hooks, RECIPE, 0, **files)
        return module.state_dict()

    whole = run(tmp_path / "whole", hooks())
    with pytest.raises(toy.CutOff):
        run(tmp_path / "cut", toy.cut_off(hooks(), 17))
    resumed = run(tmp_path / "cut", hooks())
    toy.assert_same_weights(whole, resumed)


def test_networks_in_one_stack_have_the_weights_each_has_alone(toy):
    known = toy.samples(60, 0)
    recipe = MethodRecipe(name="magnitude", density=0.3, quantise="int8", quantise_at=0.6)
    hooks = [make_method(recipe, Context(0.3, seed, 3, (10,), known, known, known)) for seed in (0, 1, 0, 1)]
    rows = [np.arange(0, 60), np.arange(20, 80)]
    pool = toy.tensors(toy.samples(80, 0))
    torch.manual_seed(0)
    together, alone = ([nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3)) for _ in "ab"] for _ in "ab")
    for one, other in zip(together, alone, strict=True):
        other.load_state_dict(one.state_dict())
    train_many(together, pool, rows, hooks[:2], RECIPE, [0, 1], processes=1)
    for k in range(2):
        train_many([alone[k]], pool, [rows[k]], [hooks[2 + k]], RECIPE, [k], processes=1)
        for one, other in zip(together[k].parameters(), alone[k].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_values_that_nothing_is_rounded_to_are_one_line():
    with pytest.raises(UserError, match=r"unknown value 'int4'.*int8") as caught:
        validate({"method": {"quantise": "int4"}}, "the options")
    assert "\n" not in str(caught.value)
