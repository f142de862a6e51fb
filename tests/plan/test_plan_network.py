"""The random model made sparse: as many weights as the plan says, plain zeros, and channels really gone."""

import pytest
import torch

from safedeploy.plan.network import network_of, sparse_module
from safedeploy.plan.question import ask
from safedeploy.plan.random_model import random_model
from safedeploy.sparsity.masks import layer_densities


def made(structure, density):
    question = ask("lenet5", "android", input_shape="1x28x28", structure=structure, density=density)
    module = random_model("lenet5", question.input_shape, 10, 0)
    return module, network_of(module, question), sparse_module(module, question)


def test_the_layers_keep_what_the_plan_said():
    _, network, sparse = made("irregular", 0.1)
    assert {layer.name: layer.kept for layer in layer_densities(sparse)} == network.kept


def test_channels_are_gone_and_the_plan_counted_what_is_left():
    module, network, smaller = made("channel", 0.4)
    assert [layer.shape for layer in network.planned] == [tuple(one.shape) for one in layer_densities(smaller)]
    assert sum(layer.weights for layer in network.planned) <= 0.4 * sum(layer.weights for layer in network.layers)
    assert network.planned_others < network.others
    assert sum(parameter.numel() for parameter in module.parameters()) == 61706


def test_no_zero_is_negative():
    """A zip of zeros of two signs is larger by a bit a zero."""
    _, _, sparse = made("irregular", 0.1)
    for parameter in sparse.parameters():
        assert not torch.signbit(parameter[parameter == 0]).any()


@pytest.mark.parametrize("structure", ["irregular", "channel"])
def test_a_density_of_one_changes_nothing(structure):
    question = ask("lenet5", "android", input_shape="1x28x28", structure=structure, density=1.0)
    network = network_of(random_model("lenet5", question.input_shape, 10, 0), question)
    assert network.planned == network.layers
    assert network.kept == {layer.name: layer.weights for layer in network.layers}
