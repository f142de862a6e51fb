"""Crop and flip: the same for the same seed, the same shape, and nothing but moved pixels."""

import pytest
import torch

from safedeploy.recipe import TrainingRecipe
from safedeploy.seeds import torch_generator
from safedeploy.training.augment import augment

BOTH = TrainingRecipe(augment="crop-flip")


def shifted(image, top, left, pad, mirror):
    """One image moved by hand: pad, crop at (top, left), mirror."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad)
    padded[:, pad : pad + height, pad : pad + width] = image
    cropped = padded[:, top : top + height, left : left + width]
    return cropped.flip(2) if mirror else cropped


def test_every_image_is_one_of_the_crops_mirrored_or_not():
    x = torch.rand(64, 3, 16, 24) + 1  # no pixel is zero, so padding shows
    out = augment(x, BOTH, torch_generator(0, "augment"))
    assert out.shape == x.shape
    seen = set()
    for before, after in zip(x, out, strict=True):
        ways = [
            (top, left, mirror)
            for top in range(5)
            for left in range(5)
            for mirror in (False, True)
            if torch.equal(shifted(before, top, left, 2, mirror), after)
        ]
        assert len(ways) == 1
        seen.add(ways[0])
    assert len(seen) > 20
    assert {mirror for _, _, mirror in seen} == {False, True}


def test_the_seed_decides():
    x = torch.rand(32, 1, 8, 8)
    first, again, other = (augment(x, BOTH, torch_generator(seed, "augment")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_input_stays_as_it_was_and_so_does_the_global_random_state():
    x = torch.rand(8, 1, 8, 8)
    kept, state = x.clone(), torch.get_rng_state()
    augment(x, BOTH, torch_generator(0))
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_of_less_than_eight_pixels_are_only_mirrored():
    x = torch.rand(40, 1, 6, 6)
    for before, after in zip(x, augment(x, BOTH, torch_generator(0)), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))


@pytest.mark.parametrize("pixels", [None, 1, 3])
def test_a_crop_alone_mirrors_nothing_and_goes_as_far_as_it_is_told(pixels):
    pad = 2 if pixels is None else pixels
    x, recipe = torch.rand(200, 1, 16, 16) + 1, TrainingRecipe(augment="crop", padding=pixels)
    seen = set()
    for before, after in zip(x, augment(x, recipe, torch_generator(0)), strict=True):
        places = [(top, left) for top in range(2 * pad + 1) for left in range(2 * pad + 1)]
        (way,) = [place for place in places if torch.equal(shifted(before, *place, pad, False), after)]
        seen.add(way)
    assert {top for top, _ in seen} == {left for _, left in seen} == set(range(2 * pad + 1))


def test_a_flip_alone_moves_nothing():
    x = torch.rand(60, 1, 16, 16)
    out = augment(x, TrainingRecipe(augment="flip"), torch_generator(0))
    mirrored = [torch.equal(after, before.flip(2)) for before, after in zip(x, out, strict=True)]
    assert all(flip or torch.equal(after, before) for flip, before, after in zip(mirrored, x, out, strict=True))
    assert 10 < sum(mirrored) < 50
