"""Gradients that are written out: those of autograd, model by model, for every chain that is taken."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from safedeploy.training.stacked_gradients import gradients

CHAINS = {
    "mlp": (nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4)),
    "one layer": (nn.Flatten(), nn.Linear(12, 4)),
    "no biases, two functions in a row": (
        nn.Flatten(),
        nn.Linear(12, 9, bias=False),
        nn.Tanh(),
        nn.ReLU(),
        nn.Linear(9, 4, bias=False),
    ),
    "a function before the first layer": (nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)),
    "nested": (nn.Flatten(), nn.Sequential(nn.Linear(12, 9), nn.Identity()), nn.Sequential(nn.ReLU(), nn.Linear(9, 4))),
    "a layer along the last axis, flattened afterwards": (
        nn.Linear(4, 5),
        nn.ReLU(),
        nn.Linear(5, 5),
        nn.Flatten(),
        nn.Linear(15, 4),
    ),
}


def stack(module, models):
    """Other weights each; a bias of 0 puts some answers exactly on ReLU's corner."""
    several = [copy.deepcopy(module) for _ in range(models)]
    for one in several:
        for weights in one.parameters():
            nn.init.normal_(weights, std=0.5)
    parameters = {
        name: torch.stack([dict(one.named_parameters())[name].detach() for one in several]).requires_grad_()
        for name, _ in module.named_parameters()
    }
    for weights in parameters.values():
        weights.grad = torch.full_like(weights, torch.nan)
    return several, parameters


@pytest.mark.parametrize("name", CHAINS)
def test_losses_and_gradients_are_those_of_autograd_model_by_model(name):
    torch.manual_seed(0)
    several, parameters = stack(nn.Sequential(*CHAINS[name]), 3)
    losses = gradients(several[0], parameters)
    for batch in (8, 8, 5):  # memory is kept between steps, also where a batch is smaller
        x, y = torch.randn(3, batch, 3, 4), torch.randint(4, (3, batch))
        x[:, 0] = 0
        before = x.clone()
        found = losses(x, y)
        assert torch.equal(x, before)
        for k, module in enumerate(several):
            module.zero_grad()
            wanted = functional.cross_entropy(module(x[k]), y[k])
            wanted.backward()
            assert found[k].item() == pytest.approx(wanted.item(), rel=1e-5)
            for place, weights in module.named_parameters():
                torch.testing.assert_close(parameters[place].grad[k], weights.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.GELU(), nn.LeakyReLU(), nn.Sigmoid(), nn.Conv1d(1, 1, 1)])
def test_other_layers_are_left_to_autograd(layer):
    module = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 4))
    assert gradients(module, stack(module, 2)[1]) is None


def test_frozen_and_shared_weights_are_left_to_autograd():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    _, parameters = stack(module, 2)
    parameters["0.weight"].requires_grad_(False)
    assert gradients(module, parameters) is None
    twice = nn.Linear(4, 4)
    tied = nn.Sequential(twice, nn.ReLU(), twice)
    assert gradients(tied, stack(tied, 2)[1]) is None
