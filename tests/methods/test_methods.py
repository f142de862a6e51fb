"""Every method: exact densities, updates when they are due, the same bits for the same seed and after a resume."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from safedeploy.errors import UserError
from safedeploy.methods.magnitude import Magnitude, MagnitudeOptions
from safedeploy.methods.registry import METHODS, make_method
from safedeploy.recipe import MethodRecipe
from safedeploy.sparsity.budget import erk
from safedeploy.sparsity.masks import layer_densities, shapes

SPARSE = [name for name, entry in METHODS.items() if entry.sparse]
DYNAMIC = ["set", "rigl", "safecompress"]


def watched(hooks, look):
    """`hooks`, with `look(training)` called after each of its steps."""
    after_step = hooks.after_step

    def then_look(training):
        after_step(training)
        look(training)

    hooks.after_step = then_look
    return hooks


@pytest.mark.parametrize("density", [0.03, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("name", SPARSE)
def test_the_density_asked_for_is_the_density_got(toy, tmp_path, name, density):
    made = toy.train(tmp_path, toy.method(name, density=density))
    total = sum(mask.numel() for mask in made.masks.values())
    assert sum(int(mask.sum()) for mask in made.masks.values()) == round(density * total)
    assert {n: int(mask.sum()) for n, mask in made.masks.items()} == erk(shapes(made.module), density)
    for layer in layer_densities(made.module):
        assert layer.kept <= int(made.masks[layer.name].sum())
        assert (made.weights[layer.name][~made.masks[layer.name]] == 0).all()


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_dynamic_method_is_sparse_from_the_first_step_to_the_last(toy, tmp_path, name):
    budgets = erk(shapes(toy.network()), 0.2)
    seen = []

    def look(training):
        seen.append({n: int(mask.sum()) for n, mask in training.masks.items()})
        for n, mask in training.masks.items():
            assert (training.parameters[n][~mask] == 0).all()

    toy.train(tmp_path, watched(toy.method(name), look))
    assert len(seen) >= 40
    assert all(counts == budgets for counts in seen)


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_dynamic_method_that_shrinks_has_all_weights_at_first_and_the_papers_cubic_then(toy, tmp_path, name):
    """Updates every 5 of 60 steps, the last of the shrinking after 35: Zhu and Gupta's equation 1 with n dt = 35."""
    whole, seen = sum(erk(shapes(toy.network()), 1.0).values()), {}

    def look(training):
        seen[training.step] = sum(int(mask.sum()) for mask in training.masks.values())
        assert training.cutting == (training.step < 35)
        for n, mask in training.masks.items():
            assert (training.parameters[n][~mask] == 0).all()

    made = toy.train(tmp_path, watched(toy.method(name, {"shrink_until": 0.6}), look))
    assert seen[1] == whole
    for step in (5, 15, 25):
        assert seen[step] == round(whole * (0.2 + 0.8 * (1 - step / 35) ** 3))
    assert seen[35] == seen[60] == round(0.2 * whole)
    assert {n: int(mask.sum()) for n, mask in made.masks.items()} == erk(shapes(toy.network()), 0.2)


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_resumed_shrinking_ends_with_the_same_weights(toy, tmp_path, name):
    options = {"shrink_until": 0.6}
    whole = toy.train(tmp_path / "whole", toy.method(name, options))
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(toy.method(name, options), 25))
    toy.assert_same_bits(whole, toy.train(tmp_path / "cut", toy.method(name, options)))


@pytest.mark.parametrize("name", ["set", "rigl"])
def test_updates_come_at_every_interval_and_stop(toy, tmp_path, name):
    """60 steps, an update every 5, none after three quarters."""
    before, changed = [None], []

    def look(training):
        now = {n: mask.clone() for n, mask in training.masks.items()}
        if before[0] is not None and any(not torch.equal(now[n], before[0][n]) for n in now):
            changed.append(training.step)
        before[0] = now

    toy.train(tmp_path, watched(toy.method(name), look))
    assert changed == [5, 10, 15, 20, 25, 30, 35, 40] + ([45] if 45 in changed else [])


def test_an_update_replaces_the_share_the_cosine_says(toy, tmp_path):
    """At step 5 of 45: 0.005 + 0.495 · ½ (1 + cos(π/9)) = 0.485 of each layer's weights."""
    budgets = erk(shapes(toy.network()), 0.2)
    before, replaced = {}, {}

    def look(training):
        if training.step == 4:
            before.update({n: mask.clone() for n, mask in training.masks.items()})
        if training.step == 5:
            replaced.update({n: int((before[n] & ~mask).sum()) for n, mask in training.masks.items()})

    toy.train(tmp_path, watched(toy.method("set"), look))
    free = {n: mask.numel() - budgets[n] for n, mask in before.items()}
    assert replaced == {n: min(int(0.48507 * kept), free[n]) for n, kept in budgets.items()}


def test_magnitude_is_dense_up_to_the_cut_and_keeps_the_largest(toy, tmp_path):
    kept = {}

    def look(training):
        if training.step == 29:
            assert training.masks == {}
        if training.step == 30:
            kept.update({n: mask.clone() for n, mask in training.masks.items()})
            for n, mask in kept.items():
                assert int(training.parameters[n].count_nonzero()) == int(mask.sum())

    made = toy.train(tmp_path, watched(toy.method("magnitude"), look))
    assert all(torch.equal(made.masks[n], mask) for n, mask in kept.items())


def test_magnitude_prunes_a_training_of_a_single_step_too(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"epochs": 1, "batch_size": 200})
    made = toy.train(tmp_path, toy.method("magnitude", {"prune_at": 0.2}), recipe)
    assert made.training.total_steps == 1
    total = sum(mask.numel() for mask in made.masks.values())
    assert sum(int(mask.sum()) for mask in made.masks.values()) == round(0.2 * total)


def test_magnitude_goes_little_by_little_along_the_papers_cubic(toy, tmp_path):
    """Zhu and Gupta, equation 1: s_t = s_f (1 - (1 - (t - t0) / (n dt))^3), here from t0 = 6 to 36 of 60 steps."""
    seen, dense = {}, {}

    def look(training):
        if training.masks:
            dense.update({n: mask.numel() for n, mask in training.masks.items()})
            seen[training.step] = sum(int(mask.sum()) for mask in training.masks.values())
        assert training.cutting == (training.step < 36)

    made = toy.train(tmp_path, watched(toy.method("magnitude", {"prune_from": 0.1, "prune_at": 0.6}), look))
    total = sum(dense.values())
    assert min(seen) == 7
    assert [seen[step] / total for step in (7, 16, 26, 36)] == pytest.approx(
        [1 - 0.8 * (1 - (1 - (step - 6) / 30) ** 3) for step in (7, 16, 26, 36)], abs=1 / total
    )
    assert seen[60] == seen[36] == round(0.2 * total)
    assert all((made.weights[n][~mask] == 0).all() for n, mask in made.masks.items())


def test_a_weight_that_went_does_not_come_back(toy, tmp_path):
    gone = {}

    def look(training):
        for n, mask in training.masks.items():
            assert not (mask & gone.get(n, torch.zeros_like(mask))).any()
            gone[n] = ~mask

    toy.train(tmp_path, watched(toy.method("magnitude", {"prune_from": 0.0}), look))


def test_a_resumed_gradual_pruning_ends_with_the_same_weights(toy, tmp_path):
    options = {"prune_from": 0.1, "prune_at": 0.6}
    whole = toy.train(tmp_path / "whole", toy.method("magnitude", options))
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(toy.method("magnitude", options), 25))
    toy.assert_same_bits(whole, toy.train(tmp_path / "cut", toy.method("magnitude", options)))


@pytest.mark.parametrize(("name", "option"), [("magnitude", "prune_from"), ("set", "shrink_until")])
@pytest.mark.parametrize("structure", ["pattern", "2:4"])
def test_what_has_one_density_goes_at_once(toy, structure, name, option):
    context = replace(toy.context(0.5), structure=structure)
    recipe = MethodRecipe(name=name, density=0.5, structure=structure, options={option: 0.1})
    with pytest.raises(UserError, match=f"^--structure {structure} goes at once: leave out --option {option}$"):
        make_method(recipe, context).check(toy.network())


def test_gradual_cuts_end_at_prune_at_however_many_steps_there_are(toy):
    for total in (1, 2, 7, 99, 1000, 12345):
        for start, end in ((0.0, 0.01), (0.0, 0.5), (0.3, 0.31), (0.2, 0.99)):
            method = Magnitude(MagnitudeOptions(prune_from=start, prune_at=end), toy.context(0.1))
            cuts = method.cuts(SimpleNamespace(total_steps=total))
            assert cuts[-1] == max(1, round(end * total))
            assert cuts[0] > 0
            assert 1 <= len(cuts) <= 99


@pytest.mark.parametrize("name", SPARSE)
def test_a_density_that_leaves_a_layer_empty_fails_before_the_first_step(toy, tmp_path, name):
    stepped = []
    with pytest.raises(UserError, match="use at least"):
        toy.train(tmp_path, watched(toy.method(name, density=0.0001), stepped.append))
    assert stepped == []


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits(toy, tmp_path, name):
    first, again = (toy.train(tmp_path / run, toy.method(name)) for run in ("first", "again"))
    other = toy.train(tmp_path / "other", toy.method(name, seed=1), seed=1)
    assert all(torch.equal(first.weights[n], again.weights[n]) for n in first.weights)
    assert first.text == again.text
    assert not torch.equal(first.weights["0.weight"], other.weights["0.weight"])


@pytest.mark.parametrize("cut", [21, 43])
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_training_ends_with_the_same_weights_and_the_same_log(toy, tmp_path, name, cut):
    """Checkpoints at the ends of epochs, 20 and 40 among them, fall into the steps whose gradients are being summed."""
    options = {"interval": 7, "gradient_steps": 3} if name in DYNAMIC else {}

    whole = toy.train(tmp_path / "whole", toy.method(name, options))
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(toy.method(name, options), cut))
    resumed = toy.train(tmp_path / "cut", toy.method(name, options))
    toy.assert_same_bits(whole, resumed)


@pytest.mark.parametrize("summed", [1, 3])
def test_rigl_grows_where_the_gradients_of_the_last_steps_are_largest(toy, tmp_path, summed):
    """Dense gradients, those of inactive weights included, summed over `gradient_steps`."""
    gradients, masks = [], {}
    hooks = toy.method("rigl", {"gradient_steps": summed})
    after_backward = hooks.after_backward

    def keep(training):
        gradients.append(training.parameters["3.weight"].grad.clone())
        after_backward(training)

    def look(training):
        if training.step in (4, 5):
            masks[training.step] = training.masks["3.weight"].clone()

    hooks.after_backward = keep
    toy.train(tmp_path, watched(hooks, look))
    strength = torch.stack(gradients[5 - summed : 5]).sum(0).abs()
    grown, left = masks[5] & ~masks[4], ~masks[4] & ~masks[5]
    assert grown.any()
    assert strength[grown].min() >= strength[left].max()


@pytest.mark.parametrize(
    ("name", "options", "sums"),
    [
        ("set", {}, False),
        ("rigl", {}, True),
        ("safecompress", {"prune": ["magnitude"], "grow": ["random", "momentum"]}, False),
        ("safecompress", {"prune": ["taylor"], "grow": ["random"]}, True),
        ("safecompress", {"prune": ["set", "magnitude"], "grow": ["random", "gradient"]}, True),
    ],
)
def test_gradients_are_summed_where_a_rule_looks_at_them(toy, tmp_path, name, options, sums):
    """Random growth needs none; momentum growth has a mean of its own."""
    hooks, found = toy.method(name, options), []
    toy.train(tmp_path, watched(hooks, lambda training: found.append(bool(hooks.state()["gradients"]))))
    assert any(found) == sums
