"""Views are what an augmentation makes of a sample: all of it, nothing else, itself first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.attacks.views import views, views_of
from safedeploy.errors import UserError
from safedeploy.recipe import TrainingRecipe
from safedeploy.training.augment import augment

X = np.random.default_rng(0).standard_normal((3, 2, 8, 6)).astype(np.float32)


def made(x, count, **training):
    return list(views(x, views_of(TrainingRecipe(**training), x.shape[1:], count)))


KINDS = [("flip", 1, 2), ("crop", 1, 9), ("crop", 2, 25), ("crop-flip", 2, 50)]


@given(st.sampled_from(KINDS), st.integers(0, 2**32))
def test_whatever_training_makes_of_a_member_is_one_of_its_views(kind, seed):
    name, padding, count = kind
    recipe = TrainingRecipe(augment=name, padding=padding)
    seen = augment(torch.from_numpy(X), recipe, torch.Generator().manual_seed(seed)).numpy()
    asked = made(X, count, augment=name, padding=padding)
    assert all(any(np.array_equal(seen[k], view[k]) for view in asked) for k in range(len(X)))


@pytest.mark.parametrize(("name", "padding", "count"), KINDS)
def test_every_view_is_there_once_and_the_sample_first(name, padding, count):
    asked = made(X, count, augment=name, padding=padding)
    np.testing.assert_array_equal(asked[0], X)
    assert len({view.tobytes() for view in asked}) == len(asked) == count
    with pytest.raises(UserError, match=f"1 to {count} views"):
        made(X, count + 1, augment=name, padding=padding)


def test_a_shift_leaves_zeros_behind():
    """Of a row 1 2 3: itself, and in some order 2 3 0 and 0 1 2."""
    rows = [
        view[0, 0, 1].tolist() for view in made(np.tile([1.0, 2.0, 3.0], (1, 1, 3, 1)), 9, augment="crop", padding=1)
    ]
    assert rows[0] == [1, 2, 3]
    assert {tuple(row) for row in rows} == {(1, 2, 3), (2, 3, 0), (0, 1, 2)}


def test_of_many_views_eighteen_are_asked_about_unless_more_are_wanted():
    cifar = TrainingRecipe(augment="crop-flip")  # 32 pixels, padding 4: 81 shifts, mirrored or not
    assert views_of(cifar, (3, 32, 32)).count == 18
    assert views_of(cifar, (3, 32, 32), 162).count == 162
    with pytest.raises(UserError, match=r"--views 163: .* 1 to 162"):
        views_of(cifar, (3, 32, 32), 163)


def test_models_that_saw_members_as_they_are_can_be_asked_about_neighbours():
    assert views_of(TrainingRecipe(), (1, 8, 8)).count == 1
    assert views_of(TrainingRecipe(), (1, 8, 8), 18).augment == "crop-flip"
    with pytest.raises(UserError, match="1 to 1 views"):
        views_of(TrainingRecipe(), (20,), 2)
