"""What the neural attackers share: fitting a membership classifier on balanced batches, and scoring with it."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.roc import auc, best_threshold
from safedeploy.seeds import derive, torch_generator
from safedeploy.threads import limited

Inputs = tuple[Tensor, ...]  # each (n, …): what a network's forward takes


@dataclass(frozen=True)
class Fitting:
    """Adam at 1e-3 on balanced batches as in SafeCompress.

    `max_steps` bounds the cost on large knowledge, and fitting stops when `patience` of its `checks` on the held-out
    share brought nothing.
    """

    epochs: int = 100
    max_steps: int = 1200
    batch_size: int = 128
    learning_rate: float = 1e-3
    holdout: float = 0.2
    checks: int = 20
    patience: int = 6


class Standardise(nn.Module):
    """Columns to deviation 1, and to mean 0 where `centre`, with the statistics of the inputs it was fitted on."""

    def __init__(self, columns: int, *, centre: bool = True) -> None:
        super().__init__()
        self.centre = centre
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    def fit(self, x: Tensor) -> None:
        self.std = x.std(0).clamp_min(1e-6)
        if self.centre:
            self.mean = x.mean(0)

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).clamp(-10, 10)


def label_first(logits: Tensor, labels: Tensor) -> Tensor:
    """log p of the label, then of the other classes in falling order: (b, classes) and (b,) → (b, classes).

    The papers give logits as they come, with the label in a branch of its own. To read p of the label out of that, a
    network must learn each class by itself, from a few samples: on 30 classes it learns its samples by heart instead
    (AUC .51 where the loss alone gives .81, and .88 in this order, as benchmarks/README.md has it).
    """
    log_p = logits.log_softmax(1)
    own = log_p.gather(1, labels[:, None])
    others = log_p.scatter(1, labels[:, None], -torch.inf).sort(1, descending=True).values[:, :-1]
    return torch.cat([own, others], dim=1)


def layers(*widths: int, last: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths, a ReLU after each, except after the `last`."""
    modules: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(widths)):
        modules.append(nn.Linear(before, after))
        if not (last and number == len(widths) - 2):
            modules.append(nn.ReLU())
            if dropout:
                modules.append(nn.Dropout(dropout))
    return nn.Sequential(*modules)


@limited(1)
def train_steps(
    network: nn.Module, members: Inputs, nonmembers: Inputs, steps: int, fitting: Fitting, seed: int
) -> None:
    """`steps` optimiser steps on batches of as many members as non-members; leaves the global generator as it was."""
    optimizer = torch.optim.Adam(network.parameters(), lr=fitting.learning_rate, fused=True)
    half = min(fitting.batch_size // 2, len(members[0]), len(nonmembers[0]))
    target = torch.cat([torch.ones(half), torch.zeros(half)])
    generator = torch_generator(seed, "attacker batches")
    picks = [_cycle(len(side[0]), half * steps, generator).view(steps, half) for side in (members, nonmembers)]
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "attacker dropout"))
        for mine, theirs in zip(*picks, strict=True):
            batch = [torch.cat([a[mine], b[theirs]]) for a, b in zip(members, nonmembers, strict=True)]
            loss = functional.binary_cross_entropy_with_logits(network(*batch), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval()


@limited(1)
def fit(network: nn.Module, members: Inputs, nonmembers: Inputs, seed: int, fitting: Fitting = Fitting()) -> float:
    """Train on four fifths of the known samples, keep the state of best AUC on the rest; returns its best cut there."""
    generator = torch_generator(seed, "attacker holdout")
    sides = []
    for side in (members, nonmembers):
        order = torch.randperm(len(side[0]), generator=generator)
        cut = max(1, int(fitting.holdout * len(order)))
        sides.append([tuple(part[chosen] for part in side) for chosen in (order[cut:], order[:cut])])
    (train_in, held_in), (train_out, held_out) = sides
    per_epoch = max(1, 2 * min(len(train_in[0]), len(train_out[0])) // fitting.batch_size)
    total = min(fitting.epochs * per_epoch, fitting.max_steps)
    block = max(1, total // fitting.checks)
    best, best_auc, best_check = copy.deepcopy(network.state_dict()), -1.0, 0
    for number in range(max(1, total // block)):
        train_steps(network, train_in, train_out, block, fitting, derive(seed, number))
        value = auc(score(network, held_in), score(network, held_out))
        if value > best_auc:
            best, best_auc, best_check = copy.deepcopy(network.state_dict()), value, number
        if number - best_check >= fitting.patience:
            break
    network.load_state_dict(best)
    return best_threshold(score(network, held_in), score(network, held_out))


@limited(1)
@torch.no_grad()
def score(network: nn.Module, inputs: Inputs, batch_size: int = 256) -> NDArray[np.float64]:
    """The network's membership logits, (n,)."""
    network.eval()
    parts = zip(*(torch.split(part, batch_size) for part in inputs), strict=True)
    return torch.cat([network(*part) for part in parts]).double().numpy()


def tensors(*arrays: NDArray[np.float32] | NDArray[np.int64]) -> Sequence[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _cycle(n: int, wanted: int, generator: torch.Generator) -> Tensor:
    """`wanted` indices below n: whole permutations one after another."""
    rounds = -(-wanted // n)
    return torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)])[:wanted]
