"""Reference models of the safety test: trained once, before the first step, on halves of the known samples alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.data.halves import half
from safedeploy.data.samples import Samples, content_digests, joined
from safedeploy.methods.base import Context, shorter
from safedeploy.methods.set import SetOptions
from safedeploy.methods.set import make as make_set
from safedeploy.methods.testers.base import Effort, Known
from safedeploy.models.init import initial_model
from safedeploy.seeds import derive
from safedeploy.training.hooks import Hooks
from safedeploy.training.many import train_many


def train_references(known: Known, context: Context, effort: Effort) -> References:
    """`effort.references` models of the run's architecture and recipe on halves of the known members and non-members.

    Halves are drawn from the known samples without regard to membership, and models 2j and 2j + 1 hold complementary
    ones, as in the audit. They are stacked where that pays.
    """
    pool = joined(context.members, context.nonmembers)
    recipe = shorter(context.training, effort.reference_epochs)
    inside = [half(pool.y, k, derive(context.seed, "tester references")) for k in range(effort.references)]
    seeds = [derive(context.seed, "tester reference", k) for k in range(effort.references)]
    modules = [initial_model(context.model, context.input_shape, context.classes, seed) for seed in seeds]
    hooks = [_hooks(context, effort, seed) for seed in seeds]
    tensors = torch.from_numpy(pool.x), torch.from_numpy(pool.y)
    train_many(modules, tensors, [np.flatnonzero(chosen) for chosen in inside], hooks, recipe, seeds)
    tested = _tested(known)
    asked = [TorchArtifact(module, "reference", context.input_shape, context.classes) for module in modules]
    phi = np.stack([scaled_logit(reference.logits(tested.x), tested.y) for reference in asked])[:, :, None]
    return References(content_digests(tested.x), tested.y, phi, _held(tested, pool, np.stack(inside)))


def to_state(references: References, known: Known) -> dict[str, Any]:
    """Tensors that give the same references back."""
    answers = references.of(_tested(known))
    return {"phi": torch.from_numpy(answers.phi), "member": torch.from_numpy(answers.member)}


def from_state(state: dict[str, Any], known: Known) -> References:
    tested = _tested(known)
    return References(content_digests(tested.x), tested.y, state["phi"].numpy(), state["member"].numpy())


def _hooks(context: Context, effort: Effort, seed: int) -> Hooks:
    if effort.reference_method == "dense":
        return Hooks()
    return make_set(SetOptions(), replace(context, seed=seed, structure="irregular"))


def _tested(known: Known) -> Samples:
    return joined(known.members, known.nonmembers, known.judged)


def _held(tested: Samples, pool: Samples, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(K, n), whether each model trained on the sample or a copy of it; inside: (K, N), on the pool's."""
    contents, which = np.unique(content_digests(pool.x), return_inverse=True)
    held = np.zeros((len(contents), len(inside)), dtype=bool)
    np.logical_or.at(held, which, inside.T)
    return held[np.searchsorted(contents, content_digests(tested.x))].T
