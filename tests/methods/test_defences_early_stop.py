"""`early-stop`: it ends when it should, with the weights it should, alone and in a stack."""

import numpy as np
import pytest
import torch

from safedeploy.data.samples import Samples
from safedeploy.errors import UserError
from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe
from safedeploy.training.many import train_many


def made(toy, method="dense", context=None, **options):
    density = 1.0 if method == "dense" else 0.2
    often = {"interval": 5, "gradient_steps": 2} if method in ("set", "rigl") else {}
    recipe = MethodRecipe(name=method, density=density, options=often, defences={"early-stop": options})
    return make_method(recipe, context or toy.context(density))


@pytest.mark.parametrize("method", ["dense", "set"])
def test_it_ends_after_the_epoch_with_the_weights_the_whole_training_had_there(toy, tmp_path, method):
    """20 of 60 steps."""
    at_20 = {}
    whole = toy.method(method)
    after_step = whole.after_step

    def keep(training):
        after_step(training)
        if training.step == 20:
            at_20.update({name: value.clone() for name, value in training.module.state_dict().items()})

    whole.after_step = keep
    toy.train(tmp_path / "whole", whole)
    stopped = toy.train(tmp_path / "stopped", made(toy, method, epochs=2))
    assert stopped.training.step == 20
    assert [event["epoch"] for event in stopped.events] == [1, 2]
    assert all(torch.equal(stopped.weights[name], at_20[name]) for name in at_20)


def test_the_learning_rate_falls_as_if_all_epochs_came(toy, tmp_path):
    """At steps 30 and 45 of 60, not at 25 and 37 of 50."""
    stopped = toy.train(tmp_path, made(toy, epochs=5))
    assert [event["learning_rate"] for event in stopped.events] == pytest.approx([0.05, 0.05, 0.05, 5e-3, 5e-4])


def test_safecompress_trains_no_candidate_beyond_the_end(toy, tmp_path):
    """A test at step 10 of 12 would have its candidates train 3 steps."""
    recipe = toy.recipe.model_copy(update={"batch_size": 50})
    tests = {"interval": 5, "gradient_steps": 1, "test_every": 2, "candidate_steps": 3, "first_steps": 4}
    method = MethodRecipe(name="safecompress", density=0.2, options=tests, defences={"early-stop": {"epochs": 3}})
    stopped = toy.train(tmp_path, make_method(method, toy.context(0.2)), recipe.model_copy(update={"epochs": 20}))
    tested = {event["step"] for event in stopped.events if event["event"] == "candidate"}
    assert tested == {10}
    assert stopped.training.step == 12


def test_a_stack_ends_after_the_epoch_too(toy):
    pool, rows = toy.tensors(toy.samples(100, 0)), [np.arange(0, 80), np.arange(20, 100)]
    modules, alone = ([plain(toy, seed) for seed in (0, 1)] for _ in range(2))
    train_many(modules, pool, rows, [made(toy, "set", epochs=2) for _ in rows], toy.recipe, [0, 1])
    for module, mine, seed in zip(alone, rows, (0, 1), strict=True):
        train_many([module], pool, [mine], [made(toy, "set", epochs=2)], toy.recipe, [seed])
    assert made(toy, "set", epochs=2).alone is None
    for one, other in zip(modules, alone, strict=True):
        for first, second in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def plain(toy, seed):
    module = toy.network(seed)
    module[2].p = 0.0  # a stack draws other dropout
    return module


def accuracies(run):
    return [event["validation_accuracy"] for event in run.events if event["event"] == "epoch"]


@pytest.mark.parametrize("method", ["dense", "set"])
def test_patience_keeps_the_first_best_epoch_and_ends_so_many_later(toy, tmp_path, method):
    long = toy.recipe.model_copy(update={"epochs": 40})
    run = toy.train(tmp_path, made(toy, method, patience=3), long)
    seen = accuracies(run)
    best = int(np.argmax(seen)) + 1
    assert len(seen) == best + 3 < 40
    assert run.events[-1] == {"event": "early stop", "epoch": best, "accuracy": seen[best - 1]}
    x, y = toy.tensors(toy.samples(80, 2))
    with torch.no_grad():
        assert float((run.module(x).argmax(1) == y).double().mean()) == pytest.approx(seen[best - 1])
    for name, mask in run.masks.items():
        assert (run.weights[name][~mask] == 0).all()


def test_epochs_before_a_late_cut_do_not_count(toy, tmp_path):
    """`magnitude` cuts after epoch 3 of 6: however good epochs 1 and 2 were, a sparse one is kept."""
    run = toy.train(tmp_path, made(toy, "magnitude", patience=1))
    assert run.events[-1]["epoch"] >= 3
    kept = sum(int(mask.sum()) for mask in run.masks.values())
    assert kept == round(0.2 * sum(mask.numel() for mask in run.masks.values()))
    assert all((run.weights[name][~mask] == 0).all() for name, mask in run.masks.items())


def test_a_network_that_still_loses_weights_is_not_kept(toy, tmp_path):
    """However good it was: what ships has the density that was asked for."""
    options = {"prune_from": 0.0, "prune_at": 0.6}
    recipe = MethodRecipe(name="magnitude", density=0.2, options=options, defences={"early-stop": {"patience": 1}})
    run = toy.train(tmp_path, make_method(recipe, toy.context(0.2)))
    assert run.events[-1]["epoch"] >= 4
    kept = sum(int(mask.sum()) for mask in run.masks.values())
    assert kept == round(0.2 * sum(mask.numel() for mask in run.masks.values()))


def test_an_end_before_a_late_cut_fails_before_the_first_step(toy, tmp_path):
    with pytest.raises(UserError, match="this method prunes later, so an early end may ship it dense: set --epochs"):
        toy.train(tmp_path, made(toy, "magnitude", epochs=2))


def test_without_a_validation_role_known_nonmembers_say_when(toy, tmp_path):
    """As where references of a stranger's model have none."""
    empty = Samples(np.empty((0, 10), np.float32), np.empty(0, np.int64))
    toy.train(tmp_path, made(toy, context=toy.context(1.0, validation=empty), patience=2))
    with pytest.raises(UserError, match=r"no validation samples to stop by: set early-stop.epochs"):
        made(toy, context=toy.context(1.0, validation=empty, nonmembers=empty), patience=2)


def test_both_rules_and_an_end_after_the_end_are_one_line(toy):
    with pytest.raises(UserError, match=r"^--defence early-stop: give epochs or patience, not both$"):
        made(toy, epochs=2, patience=3)
    with pytest.raises(UserError, match="epochs: 31 is after the training's last, 30"):
        made(toy, epochs=31)


def test_patience_is_the_rule_where_none_is_given(toy):
    assert made(toy).parts["early-stop"].patience == 5
    assert made(toy).alone == "validation accuracy decides when it stops"
