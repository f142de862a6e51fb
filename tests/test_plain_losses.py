"""The defences' losses against the same written plainly, on random answers: in value and in gradient."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from benchmarks.plain_losses import LOSSES
from safedeploy.compose import make_recipe
from safedeploy.compression import fresh, prepared


def ours(name, logits, labels, epoch):
    """The loss of the hooks as the loop takes it: theirs, or cross-entropy to what is taught, and their term."""
    recipe = make_recipe(None, data="digits", model="mlp", method="dense", defences=[name], epochs=1, device="cpu")
    examples, _, _ = prepared(recipe, None)
    _, hooks = fresh(recipe, examples)
    training = SimpleNamespace(y=labels, epoch=epoch, targets=None, log=lambda line: None)
    hooks.begin(training)
    loss = hooks.loss(logits, labels, training)
    if loss is None:
        loss = functional.cross_entropy(logits, labels if training.targets is None else training.targets)
    term = hooks.loss_term(logits, labels, training)
    return loss if term is None else loss + term


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("sure", [0.1, 5.0])
def test_a_defence_s_loss_is_the_one_written_plainly(name, epoch, sure):
    """Unsure answers are above RelaxLoss' level, sure ones below it."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (32,), generator=generator)
    raw = torch.randn(32, 10, generator=generator) + sure * functional.one_hot(labels, 10)
    found = []
    for loss in (ours, lambda name, *given: LOSSES[name](*given)):
        logits = raw.clone().requires_grad_()
        value = loss(name, logits, labels, epoch)
        (gradient,) = torch.autograd.grad(value, logits)
        found.append((value.detach(), gradient))
    torch.testing.assert_close(*found)
