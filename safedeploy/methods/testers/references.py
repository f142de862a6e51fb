"""Reference models of the safety test: trained once, before the first step, on halves of the known samples alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.data.halves import half
from safedeploy.data.samples import Samples, content_digests, joined
from safedeploy.methods.base import Context
from safedeploy.methods.set import SetOptions
from safedeploy.methods.set import make as make_set
from safedeploy.methods.testers.base import Effort, Known
from safedeploy.models.init import initial_model
from safedeploy.seeds import derive
from safedeploy.training.device import make_accelerator
from safedeploy.training.group import Job, groups, train_group
from safedeploy.training.hooks import Hooks

LEAST_EPOCHS = 10  # of theirs, or the run's: what they have not learnt yet, the candidate knows, member or not


def train_references(known: Known, context: Context, effort: Effort) -> References:
    """`effort.references` models of the run's architecture and recipe on halves of the known members and non-members.

    Halves are drawn from the known samples without regard to membership, and models 2j and 2j + 1 hold complementary
    ones, as in the audit. They are stacked where that pays.
    """
    pool = joined(context.members, context.nonmembers)
    recipe = context.training
    epochs = max(round(effort.reference_epochs * recipe.epochs), min(LEAST_EPOCHS, recipe.epochs))
    recipe = recipe.model_copy(update={"epochs": epochs})
    inside = [half(pool.y, k, derive(context.seed, "tester references")) for k in range(effort.references)]
    seeds = [derive(context.seed, "tester reference", k) for k in range(effort.references)]
    jobs = [
        Job(
            initial_model(context.model, context.input_shape, context.classes, seed),
            np.flatnonzero(chosen),
            _hooks(context, effort, seed),
            seed,
        )
        for chosen, seed in zip(inside, seeds, strict=True)
    ]
    device = make_accelerator(recipe.device, recipe.precision).device.type
    tensors = torch.from_numpy(pool.x), torch.from_numpy(pool.y)
    for group in groups(jobs, recipe, device):
        train_group([jobs[k] for k in group], tensors, recipe, lambda steps: None)
    tested = _tested(known)
    asked = [TorchArtifact(job.module, "reference", context.input_shape, context.classes) for job in jobs]
    phi = np.stack([scaled_logit(reference.logits(tested.x), tested.y) for reference in asked])[:, :, None]
    rows = _rows(tested, pool)
    return References(content_digests(tested.x), tested.y, phi, np.stack(inside)[:, rows])


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


def _rows(samples: Samples, pool: Samples) -> Sequence[int]:
    """Where each sample is in the pool."""
    place = {digest: row for row, digest in enumerate(content_digests(pool.x).tolist())}
    return [place[digest] for digest in content_digests(samples.x).tolist()]
