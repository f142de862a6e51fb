"""Cross-fitted distillation: no member's lesson was determined by its own label, alone, in a stack or resumed."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from safedeploy.data.samples import content_digests
from safedeploy.errors import UserError
from safedeploy.methods.defences.crossfit import divide
from safedeploy.methods.defences.taught import mixed
from safedeploy.methods.registry import make_method
from safedeploy.models.zoo import build_model
from safedeploy.recipe import MethodRecipe, ModelRecipe, TrainingRecipe
from safedeploy.seeds import derive
from safedeploy.training.device import make_accelerator
from safedeploy.training.evaluate import predict
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training, train
from safedeploy.training.many import train_many

MLP = ModelRecipe(name="mlp")
RECIPE = TrainingRecipe(epochs=2, batch_size=20, learning_rate=0.05, device="cpu", checkpoint_seconds=0)


@pytest.fixture
def crossfit(toy):
    """Hooks of a method with the defence."""

    def make(options=None, method="dense", density=None, seed=0, members=100, **changes):
        density = density or (1.0 if method == "dense" else 0.3)
        recipe = MethodRecipe(name=method, density=density, defences={"crossfit": options or {}})
        context = toy.context(density, seed, members)
        return make_method(recipe, replace(context, **{"model": MLP, **changes}))

    return make


@pytest.fixture
def begun(toy, crossfit):
    """A training whose teachers have trained."""

    def begin(x, y, options=None, recipe=RECIPE, log=lambda event: None, **changes):
        hooks = crossfit(options, **changes)
        training = Training(toy.network(), x, y, recipe, 0, make_accelerator("cpu", recipe.precision), hooks, log)
        hooks.begin(training)
        return training

    return begin


def test_what_is_taught_worked_by_hand():
    """Logits (2 ln 3, 0) at temperature 2 are odds of 3 to 1; a quarter of that and three quarters of the label."""
    logits = torch.tensor([[2 * math.log(3), 0.0], [2 * math.log(3), 0.0]])
    taught = mixed(logits, torch.tensor([0, 1]), weight=0.25, temperature=2.0)
    assert torch.allclose(taught, torch.tensor([[15 / 16, 1 / 16], [3 / 16, 13 / 16]]))


def test_a_member_s_target_does_not_depend_on_its_own_label(toy, begun):
    """The theorem behind the defence, with weight 1: other seeds alike, one label flipped, everything trained anew."""
    x, y = toy.tensors(toy.samples(100, 0))
    five = {"folds": 5, "repeats": 1}
    before = begun(x, y, five).targets
    for flipped in (0, 99):
        other = y.clone()
        other[flipped] = (y[flipped] + 1) % toy.classes
        after = begun(x, other, five).targets
        assert torch.equal(before[flipped], after[flipped])
        changed = (before != after).any(1)
        assert changed.sum() == 80  # everyone in the four other folds, whose teachers saw the flipped label


def test_a_member_s_target_does_not_depend_on_its_label_through_a_copy_of_itself(toy, begun):
    """The same content at two places under two labels: neither reaches the other's target."""
    x, y = toy.tensors(toy.samples(100, 0))
    x[70] = x[3]
    before = begun(x, y).targets
    other = y.clone()
    other[3] = (y[3] + 1) % toy.classes
    after = begun(x, other).targets
    assert torch.equal(before[[3, 70]], after[[3, 70]])


def test_each_target_is_the_answer_of_a_model_trained_alone_on_the_other_folds(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    targets = begun(x, y, {"folds": 3, "repeats": 1}).targets
    fold = divide(content_digests(x.numpy()), 3, derive(0, "folds", 0))
    for number in range(3):
        inside, seed = torch.from_numpy(np.flatnonzero(fold != number)), derive(derive(0, "teachers", 0), number)
        module = build_model("mlp", (10,), toy.classes, seed)
        alone = Training(module, x[inside], y[inside], RECIPE, seed, make_accelerator("cpu", "float32"), Hooks(), print)
        train(alone, after_epoch=Training.require_finite)
        unseen = torch.from_numpy(np.flatnonzero(fold == number))
        assert torch.allclose(targets[unseen], predict(module, x[unseen]).softmax(1), atol=1e-4)


@given(
    copies=st.lists(st.integers(0, 30), min_size=20, max_size=60),
    folds=st.integers(2, 5),
    seed=st.integers(0, 2**32),
)
def test_copies_of_an_example_share_a_fold_and_distinct_ones_are_spread_evenly(copies, folds, seed):
    try:
        fold = divide(content_digests(np.array(copies, dtype=np.float32)[:, None]), folds, seed)
    except UserError:
        return  # so few distinct ones that a fold is empty
    assert set(fold) == set(range(folds))
    for content in set(copies):
        assert len({number for number, one in zip(fold, copies, strict=True) if one == content}) == 1
    distinct = divide(content_digests(np.arange(len(copies), dtype=np.float32)[:, None]), folds, seed)
    sizes = np.bincount(distinct)
    assert sizes.max() - sizes.min() <= 1


def test_more_folds_than_distinct_members_is_one_line():
    digests = content_digests(np.array([[1.0], [2.0], [2.0], [1.0]], dtype=np.float32))
    with pytest.raises(UserError, match=r"--defence crossfit: 3 folds of 2 distinct members; lower crossfit\.folds"):
        divide(digests, 3, 0)


def test_teachers_cannot_memorise_for_their_members(toy, begun):
    """Labels drawn by coins: a network learns its own by heart, a teacher knows those of others by chance."""
    x, _ = toy.tensors(toy.samples(150, 0))
    y = torch.randint(toy.classes, (150,), generator=torch.Generator().manual_seed(0))
    events = []
    training = begun(x, y, {"repeats": 1, "teacher_epochs": 60}, log=events.append)
    right = float((training.targets.argmax(1) == y).double().mean())
    assert events == [{"event": "teachers", "folds": 2, "accuracy_out_of_fold": [right]}]
    assert right < 1 / 3 + 3 * math.sqrt(2 / 9 / 150)
    confident = training.targets.max(1).values.mean()
    assert confident > 0.8  # they know their own by heart, so they are sure of themselves


def test_teachers_leave_the_global_random_state_alone(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    begun(x, y)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_options_reach_the_teachers(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    usual = begun(x, y).targets
    for options in ({"teacher_epochs": 1}, {"folds": 4}, {"repeats": 1}, {"temperature": 3.0}, {"weight": 0.5}):
        assert not torch.allclose(begun(x, y, options).targets, usual)
    sure, unsure = begun(x, y, {"temperature": 0.1}).targets, begun(x, y, {"temperature": 100.0}).targets
    assert sure.max(1).values.mean() > usual.max(1).values.mean() > unsure.max(1).values.mean()
    assert unsure.max() < 0.4
    half = begun(x, y, {"weight": 0.5}).targets
    assert torch.allclose(half, (usual + nn.functional.one_hot(y, toy.classes)) / 2)
    images = x[:, :9].reshape(100, 1, 3, 3)
    small = {"input_shape": (1, 3, 3), "model": ModelRecipe(name="lenet5")}  # too small for it, not for its teachers
    assert begun(images, y, {"teacher_model": "mlp"}, **small).targets.shape == (100, 3)


def test_repeats_average_teachers_of_other_folds_and_the_theorem_still_holds(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    once, thrice = (begun(x, y, {"folds": 2, "repeats": repeats}).targets for repeats in (1, 3))
    assert not torch.allclose(once, thrice)
    assert thrice.max(1).values.mean() < once.max(1).values.mean()  # means of answers are less sure than answers
    flipped = y.clone()
    flipped[7] = (y[7] + 1) % toy.classes
    assert torch.equal(begun(x, flipped, {"folds": 2, "repeats": 3}).targets[7], thrice[7])


def test_teachers_that_were_taught_so_themselves_keep_the_theorem(toy, begun):
    """Each of the second generation is a student of teachers that saw neither its fold nor the member they answer."""
    x, y = toy.tensors(toy.samples(100, 0))
    options = {"folds": 3, "generations": 2}
    first, second = begun(x, y, {"folds": 3}).targets, begun(x, y, options).targets
    assert not torch.allclose(first, second)
    flipped = y.clone()
    flipped[7] = (y[7] + 1) % toy.classes
    after = begun(x, flipped, options).targets
    assert torch.equal(after[7], second[7])
    assert not torch.equal(after, second)


def test_two_generations_by_hand(toy, begun):
    """Of three folds: three first teachers that saw one each, and learned labels; three that learned from those."""
    x, y = toy.tensors(toy.samples(90, 0))
    targets = begun(x, y, {"folds": 3, "generations": 2, "repeats": 1}).targets
    fold, seeds = divide(content_digests(x.numpy()), 3, derive(0, "folds", 0)), derive(0, "teachers", 0)

    def taught(out, lessons):
        inside, seed = torch.from_numpy(np.flatnonzero(~np.isin(fold, out))), derive(seeds, *out)
        module = build_model("mlp", (10,), toy.classes, seed)
        recipe = RECIPE if lessons is None else RECIPE.model_copy(update={"weight_decay": 0.0})
        alone = Training(module, x[inside], y[inside], recipe, seed, make_accelerator("cpu", "float32"), Hooks(), print)
        alone.targets = lessons if lessons is None else lessons[inside]
        train(alone, after_epoch=Training.require_finite)
        return predict(module, x).softmax(1)

    first = {out: taught(out, None) for out in ((0, 1), (0, 2), (1, 2))}
    for number in range(3):
        lessons = torch.full((90, toy.classes), torch.nan)
        for other in {0, 1, 2} - {number}:
            lessons[fold == other] = first[tuple(sorted((number, other)))][fold == other]
        unseen = fold == number
        assert torch.allclose(targets[unseen], taught((number,), lessons)[unseen], atol=1e-4)


def test_who_is_taught_has_a_weight_decay_of_its_own(toy, begun):
    """Those who learn labels keep the recipe's: the first generation's answers do not depend on it."""
    x, y = toy.tensors(toy.samples(100, 0))
    plain, decayed = (begun(x, y, {"weight_decay": decay}) for decay in (0.0, 0.3))
    assert (plain.optimizer.param_groups[0]["weight_decay"], decayed.optimizer.param_groups[0]["weight_decay"]) == (
        0,
        0.3,
    )
    assert RECIPE.weight_decay > 0
    assert torch.equal(plain.targets, decayed.targets)
    twice = [begun(x, y, {"weight_decay": decay, "folds": 3, "generations": 2}).targets for decay in (0.0, 0.3)]
    assert not torch.allclose(*twice)


def test_more_generations_than_folds_can_leave_out_is_one_line(crossfit):
    with pytest.raises(UserError, match=r"--defence crossfit: generations 2 want more than 2 folds") as caught:
        crossfit({"folds": 2, "generations": 2})
    assert "\n" not in str(caught.value)


def test_convolutions_with_augmentation_teach_too(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    images = x[:, :, None, None].expand(-1, -1, 8, 8).contiguous()
    recipe = RECIPE.model_copy(update={"augment": "crop-flip"})
    shape = {"input_shape": (10, 8, 8), "model": ModelRecipe(name="lenet5")}
    plain, cropped = (begun(images, y, recipe=one, **shape).targets for one in (RECIPE, recipe))
    assert torch.allclose(cropped.sum(1), torch.ones(100))
    assert not torch.allclose(plain, cropped)


def test_progress_grows_through_teachers_and_student_to_the_whole(toy, crossfit):
    x, y = toy.tensors(toy.samples(100, 0))
    heard = []
    accelerator = make_accelerator("cpu", "float32")
    training = Training(toy.network(), x, y, RECIPE, 0, accelerator, crossfit(), lambda event: None)
    train(training, after_epoch=Training.require_finite, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[0] < 0.2
    assert heard[-1] == 1
    assert len(heard) == 2 * 2 + 2 * 5  # a stack of teachers with 2 batches an epoch, then the student with 5


@pytest.mark.parametrize("method", ["dense", "set", "rigl", "safecompress", "magnitude"])
def test_a_run_that_is_cut_off_ends_with_the_same_bits(toy, crossfit, tmp_path, method):
    def hooks():
        return crossfit({"folds": 2}, method, members=60)

    whole = toy.train(tmp_path / "whole", hooks())
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(hooks(), 33))
    resumed = toy.train(tmp_path / "cut", hooks())
    toy.assert_same_bits(whole, resumed)
    assert [event["event"] for event in whole.events].count("teachers") == 1


def test_a_stack_teaches_each_model_what_it_learns_alone(toy, crossfit, begun):
    x, y = toy.tensors(toy.samples(160, 0))
    rows = [np.random.default_rng(k).permutation(160)[:100] for k in range(3)]

    def trained(together):
        modules = [build_model("mlp", (10,), toy.classes, k) for k in range(3)]
        hooks = [crossfit(method="set", seed=k) for k in range(3)]
        assert all(hook.alone is None for hook in hooks)
        parts = (
            [(modules, rows, hooks, range(3))]
            if together
            else [([modules[k]], [rows[k]], [hooks[k]], [k]) for k in range(3)]
        )
        for some, members, theirs, seeds in parts:
            train_many(some, (x, y), members, theirs, RECIPE, seeds, processes=1)
        return [module.state_dict() for module in modules]

    for ours, alone in zip(trained(True), trained(False), strict=True):
        assert all(torch.allclose(ours[name], value, atol=1e-4) for name, value in alone.items())


def test_its_hooks_reach_a_worker(crossfit):
    assert pickle.loads(pickle.dumps(crossfit(method="set"))).parts.keys() == {"set", "crossfit"}


@pytest.mark.parametrize(
    ("options", "named"),
    [({"folds": 1}, "folds"), ({"weight": 0}, "weight"), ({"weight": 1.1}, "weight"), ({"temperature": 0}, "temper")],
)
def test_an_option_out_of_range_is_one_line(crossfit, options, named):
    with pytest.raises(UserError, match=f"--defence crossfit: {named}") as caught:
        crossfit(options)
    assert "\n" not in str(caught.value)


def test_teachers_that_cannot_be_are_refused_before_anything_is_trained(toy, crossfit):
    with pytest.raises(UserError, match="unknown model 'resnet'"):
        crossfit({"teacher_model": "resnet"}).check(toy.network())
    with pytest.raises(UserError, match="lenet5 wants images"):
        crossfit({"teacher_model": "lenet5"}).check(toy.network())


def test_teachers_that_diverge_are_named(toy, begun):
    x, y = toy.tensors(toy.samples(100, 0))
    with pytest.raises(UserError, match="--defence crossfit, its teachers: a training diverged"):
        begun(x, y, recipe=RECIPE.model_copy(update={"learning_rate": 1e30}))
