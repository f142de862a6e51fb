"""Every sparse method in every structure: whole units from the first step to the last, at the density asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.data.samples import Samples
from safedeploy.methods.base import Context
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe, TrainingRecipe
from safedeploy.sparsity.masks import layer_densities, total_density
from safedeploy.sparsity.shrink import shrink
from safedeploy.sparsity.structure import structured
from safedeploy.training.many import train_many
from safedeploy.training.run import run_training

SHAPE = (4, 6, 6)
DENSITY = {
    "channel": 0.4,
    "filter": 0.4,
    "column": 0.3,
    "kernel": 0.3,
    "pattern": 0.3,
    "block:1x4": 0.3,
    "block:2x2": 0.3,
    "2:4": 0.5,
    "1:2": 0.5,
}
RECIPE = TrainingRecipe(epochs=4, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)
OPTIONS = {"interval": 3, "gradient_steps": 2, "rate_start": 0.4}
SAFETY = {"test_every": 2, "candidate_steps": 2, "first_steps": 4, "attacker_steps": 2, "attacker": "black"}


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(4, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3),
        )  # fmt: skip


def samples(count, seed):
    rng = np.random.default_rng(seed)
    return Samples(rng.normal(size=(count, *SHAPE)).astype(np.float32), rng.integers(3, size=count))


def hooks(name, structure, seed=0, **more):
    density = DENSITY[structure]
    options = more | ({} if name == "magnitude" else OPTIONS | (SAFETY if name == "safecompress" else {}))
    recipe = MethodRecipe(name=name, density=density, structure=structure, options=options)
    sides = [samples(60, part) for part in range(3)]
    return make_method(recipe, Context(density, seed, 3, SHAPE, *sides, structure=structure))


def train(folder, method, look=None, epochs=4):
    folder.mkdir(exist_ok=True)
    module, part, held = network(), samples(100, 3), samples(20, 4)
    if look:
        after_step = method.after_step
        method.after_step = lambda training: (after_step(training), look(training))
    training = run_training(
        module,
        (torch.from_numpy(part.x), torch.from_numpy(part.y)),
        (torch.from_numpy(held.x), torch.from_numpy(held.y)),
        method,
        RECIPE.model_copy(update={"epochs": epochs}),
        0,
        metrics=folder / "metrics.jsonl",
        checkpoints=folder / "checkpoints",
    )
    return module, training


@pytest.mark.parametrize("structure", DENSITY)
@pytest.mark.parametrize("name", ["magnitude", "set", "rigl"])
def test_masks_are_whole_units_in_equal_numbers_all_the_way(tmp_path, name, structure):
    units = structured(network(), SHAPE, structure)
    counts, changes = [], []

    def look(training):
        if not training.masks:
            return
        held = units.held(training.masks, reading=structure in ("channel", "filter") and name != "magnitude")
        counts.append({set_name: int(kept.sum()) for set_name, kept in held.items()})
        changes.append({mask: value.clone() for mask, value in training.masks.items()})
        for row_name, row in units.rows.items():
            assert (held[row_name].view(-1, row).sum(1) == int(DENSITY[structure] * row)).all()

    module, training = train(tmp_path, hooks(name, structure), look)
    assert all(one == counts[0] for one in counts)
    if name != "magnitude":
        assert any(not torch.equal(changes[0][mask], changes[-1][mask]) for mask in changes[0])
    held = units.held(training.masks)
    again = units.spread(held, training.masks)
    for mask_name, mask in training.masks.items():
        assert mask_name in units.patterned or torch.equal(again[mask_name], mask)
        assert (training.parameters[mask_name][~mask] == 0).all()
    found = total_density(layer_densities(module))
    least = (
        0 if structure == "filter" and name != "magnitude" else DENSITY[structure] - 0.11
    )  # its readers are zero too
    assert least < found <= DENSITY[structure] + 0.03


def test_every_kernel_that_is_kept_has_four_of_nine_places_of_at_most_eight_patterns(tmp_path):
    _, training = train(tmp_path, hooks("rigl", "pattern"))
    kernels = torch.cat([mask.reshape(-1, 9) for name, mask in training.masks.items() if mask.shape[2:] == (3, 3)])
    kept = kernels[kernels.any(dim=1)]
    assert (kept.sum(dim=1) == 4).all()
    assert len(kept.unique(dim=0)) <= 8
    assert kept[:, 4].all()


@pytest.mark.parametrize("structure", ["channel", "kernel", "2:4"])
def test_safecompress_tests_candidates_in_a_structure(tmp_path, structure):
    module, training = train(tmp_path, hooks("safecompress", structure))
    assert '"candidate"' in (tmp_path / "metrics.jsonl").read_text()
    units = structured(network(), SHAPE, structure)
    again = units.spread(units.held(training.masks))
    assert all(torch.equal(again[name], mask) for name, mask in training.masks.items())
    assert total_density(layer_densities(module)) <= DENSITY[structure] + 0.01


@pytest.mark.parametrize("structure", ["channel", "filter", "pattern", "2:4"])
def test_a_resumed_training_ends_with_the_same_bits(toy, tmp_path, structure):
    whole, _ = train(tmp_path / "whole", hooks("rigl", structure))
    with pytest.raises(toy.CutOff):
        train(tmp_path / "cut", toy.cut_off(hooks("rigl", structure), 13))
    resumed, _ = train(tmp_path / "cut", hooks("rigl", structure))
    toy.assert_same_weights(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_no_filter_that_is_kept_is_dead(tmp_path, name):
    """Grown from a row of zeros under a ReLU, it would get no gradient and stay zero."""
    _, training = train(tmp_path, hooks(name, "filter"))
    for parameter in ("0.weight", "3.weight", "6.weight", "9.weight"):
        kept = training.masks[parameter].flatten(1).any(dim=1)
        assert torch.equal(training.parameters[parameter].flatten(1).any(dim=1), kept)


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_a_dormant_channel_changes_no_answer_and_is_gone_at_the_end(tmp_path, name):
    """Before the end its own weights are there, and what it answers is multiplied by zero; at the end they are not."""
    x = torch.from_numpy(samples(8, 9).x)
    seen = {}

    def look(training):
        if training.step == training.total_steps:
            training.module.eval()
            with torch.no_grad():
                seen["before"] = training.module(x)
            seen["own"] = int(training.parameters["3.weight"].flatten(1).any(dim=1).sum())
            seen["gradients"] = training.parameters["6.weight"].grad

    module, _ = train(tmp_path, hooks(name, "channel"), look)
    with torch.no_grad():
        torch.testing.assert_close(module(x), seen["before"], rtol=1e-5, atol=1e-6)
    assert seen["own"] == 16
    left = int(module[3].weight.flatten(1).any(dim=1).sum())
    smaller = shrink(module, SHAPE)
    assert smaller[3].out_channels == left < 16
    assert smaller[3].out_channels % 8 == 0
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("structure", ["channel", "filter", "block:1x4", "2:4"])
def test_networks_in_one_stack_have_their_own_units(structure):
    """Multilayer perceptrons, which a stack trains at once, end with the masks that each has alone."""

    def made(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
                nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3),
            )  # fmt: skip

    part = samples(80, 3)
    pool = torch.from_numpy(part.x), torch.from_numpy(part.y)
    rows = [np.arange(0, 60), np.arange(20, 80)]
    stacked, alone = [made(0), made(1)], [made(0), made(1)]
    train_many(stacked, pool, rows, [hooks("rigl", structure, seed) for seed in (0, 1)], RECIPE, [0, 1])
    for seed, module in enumerate(alone):
        train_many([module], pool, [rows[seed]], [hooks("rigl", structure, seed)], RECIPE, [seed])
        assert 0 < int((module[1].weight == 0).sum()) < 144 * 64
        for found, wanted in zip(stacked[seed].parameters(), module.parameters(), strict=True):
            assert torch.equal(found == 0, wanted == 0)
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert not torch.equal(stacked[0][1].weight == 0, stacked[1][1].weight == 0)


@pytest.mark.parametrize("structure", ["channel", "filter", "column", "kernel", "block:1x4"])
@pytest.mark.parametrize(("name", "option"), [("magnitude", {"prune_from": 0.0}), ("rigl", {"shrink_until": 0.5})])
def test_units_that_go_little_by_little_end_at_the_same_counts(tmp_path, structure, name, option):
    kept = []

    def look(training):
        kept.append(sum(int(mask.sum()) for mask in training.masks.values()))

    slow, training = train(tmp_path / "slow", hooks(name, structure, **option), look)
    at_once, _ = train(tmp_path / "at once", hooks(name, structure))
    assert total_density(layer_densities(slow)) == pytest.approx(total_density(layer_densities(at_once)), abs=0.03)
    assert kept[-1] < kept[kept.index(max(kept))]
    assert not training.cutting
