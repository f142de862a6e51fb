"""Draws depend on the seed and their own name, and on nothing drawn before."""

import numpy as np
import torch

from safedeploy.seeds import derive, numpy_generator, torch_generator


def test_a_draw_is_the_same_on_every_machine():
    """The first 63 bits of a sha256: a change here would change every run made before."""
    import hashlib

    expected = int(hashlib.sha256(b"7/order/3").hexdigest()[:16], 16) // 2
    assert derive(7, "order", 3) == expected


def test_other_seeds_and_other_names_draw_otherwise():
    seeds = [derive(seed, name, number) for seed in range(20) for name in ("order", "split") for number in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_are_apart_from_the_global_ones():
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = numpy_generator(1, "a").random(3), torch.rand(3, generator=torch_generator(1, "a"))
    assert torch.equal(torch.get_rng_state(), before)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    second = numpy_generator(1, "a").random(3), torch.rand(3, generator=torch_generator(1, "a"))
    np.testing.assert_array_equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_seeds_of_any_size_serve():
    assert numpy_generator(2**62, "a").random() != numpy_generator(2**62 + 1, "a").random()
