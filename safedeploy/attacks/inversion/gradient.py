"""The slope of each class's score φ = log p − log(1 − p) around an input: from answers alone, or by autograd.

Both are averages over REACH deviations around it: at a point a network's slope is mostly what adversarial examples use.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.attacks.base import Floats
from safedeploy.attacks.inversion.prior import Prior
from safedeploy.seeds import numpy_generator

if TYPE_CHECKING:
    from torch import nn

# (x, step) → slopes like x (classes, *input_shape), in deviations from the prior's mean: row c for class c
Gradient = Callable[[Floats, int], Floats]

REACH = 1.0  # deviations
PAIRS = 25  # of queries a class and step
DRAWS = 4  # backward passes a class and step


def estimated(artifact: Artifact, prior: Prior, seed: int, pairs: int = PAIRS) -> Gradient:
    """Natural evolution strategies in antithetic pairs (Ilyas et al. 2018, algorithm 1): 2 · pairs queries a class."""

    def gradient(x: Floats, step: int) -> Floats:
        noise = prior.noise((pairs, *x.shape[1:]), numpy_generator(seed, "inversion", step))
        found = np.empty_like(x)
        for label in range(len(x)):  # one class at a time bounds the memory
            asked = np.concatenate([x[label] + REACH * noise, x[label] - REACH * noise])
            phi = scores(artifact.logits(prior.inputs(asked)), label)
            found[label] = np.tensordot((phi[:pairs] - phi[pairs:]) / (2 * REACH * pairs), noise, axes=1)
        return found

    return gradient


def exact(module: "nn.Module", prior: Prior, seed: int) -> Gradient:
    """By autograd through `module`, the white box, which answers the file's inputs with logits."""
    import torch

    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    others = None

    def gradient(x: Floats, step: int) -> Floats:
        nonlocal others
        if others is None:
            others = torch.where(torch.eye(len(x), dtype=torch.bool, device=device), float("-inf"), 0.0)
        generator = numpy_generator(seed, "inversion", step)
        found = np.zeros_like(x)
        for _ in range(DRAWS):
            around = x + REACH * prior.noise(x.shape, generator)
            asked = torch.from_numpy(prior.inputs(around)).to(device).requires_grad_()
            logits = module(asked)
            phi = logits.diagonal() - (logits + others).logsumexp(dim=1)
            found += torch.autograd.grad(phi.sum(), asked)[0].cpu().numpy()
        # twice, as noise of covariance smooth ∘ smooth weighs the estimate's slope (Stein's lemma)
        return prior.smooth(prior.smooth(found / DRAWS * prior.deviation))

    return gradient


def scores(logits: Array, label: int) -> Floats:
    """φ (n,) of one class, from logits (n, classes)."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    return np.asarray(logits[:, label] - logsumexp(others, axis=1))
