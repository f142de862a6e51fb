"""Every defence that needs no teacher: the same bits for the same seed, after a resume, and in a stack as alone."""

import pickle

import numpy as np
import pytest
import torch

from safedeploy.methods.registry import make_method
from safedeploy.recipe import MethodRecipe
from safedeploy.training.many import train_many

DEFENCES = {
    "relaxloss": {"alpha": 0.9},
    "ppb": {},
    "hamp": {},
    "early-stop": {"patience": 2},
    "dpsgd": {"noise_multiplier": 1.0, "accountant": "rdp"},
}
STACKED = {"relaxloss": {"alpha": 0.9}, "ppb": {}, "hamp": {}, "early-stop": {"epochs": 4}}


def made(toy, name, options, method="set", seed=0):
    often = {"interval": 5, "gradient_steps": 2}
    recipe = MethodRecipe(name=method, density=0.2, options=often, defences={name: options})
    return make_method(recipe, toy.context(0.2, seed))


@pytest.mark.parametrize("name", DEFENCES)
def test_a_resumed_training_ends_with_the_same_weights_and_the_same_log(toy, tmp_path, name):
    """Cut in the middle of an epoch, and after the last: whose weights were kept, and what was drawn, is not lost."""
    hooks = [made(toy, name, DEFENCES[name], "rigl") for _ in range(4)]
    whole = toy.train(tmp_path / "whole", hooks[0])
    other = toy.train(tmp_path / "other", made(toy, name, DEFENCES[name], "rigl", seed=1), seed=1)
    assert any(not torch.equal(whole.weights[n], other.weights[n]) for n in whole.weights)
    with pytest.raises(toy.CutOff):
        toy.train(tmp_path / "cut", toy.cut_off(hooks[1], 25))
    for again in hooks[2:]:  # from the cut, and from the end
        resumed = toy.train(tmp_path / "cut", again)
        toy.assert_same_bits(whole, resumed)
    assert hooks[0].guarantee(whole.training) == hooks[3].guarantee(resumed.training)


@pytest.mark.parametrize("name", STACKED)
def test_a_stack_gives_the_weights_that_each_has_alone(toy, name):
    pool, rows = toy.tensors(toy.samples(100, 0)), [np.arange(0, 80), np.arange(20, 100)]

    def network(seed):
        module = toy.network(seed)
        module[2].p = 0.0  # a stack draws other dropout
        return module

    assert made(toy, name, STACKED[name]).alone is None
    stacked, alone = ([network(seed) for seed in (0, 1)] for _ in range(2))
    train_many(stacked, pool, rows, [made(toy, name, STACKED[name]) for _ in rows], toy.recipe, [0, 1])
    for module, mine, seed in zip(alone, rows, (0, 1), strict=True):
        train_many([module], pool, [mine], [made(toy, name, STACKED[name])], toy.recipe, [seed])
    for one, other in zip(stacked, alone, strict=True):
        for first, second in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", DEFENCES)
def test_it_can_be_sent_to_a_worker(toy, name):
    pickle.loads(pickle.dumps(made(toy, name, DEFENCES[name])))
