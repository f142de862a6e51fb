"""Every signal at once: a classifier that learned on the references, each in turn the victim, what a member looks like.

Reference k is judged with the others, less its complement; whether it trained on a sample is known. The classifier sees
φ, its place among the others' with and without the sample, LiRA's, RMIA's and the loss attack's scores; so it learns
what each is worth at this many references, and what no normal distribution says. Two references cannot stand in for
the victim: then the attacker's known samples of the audited model teach it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import rmia
from safedeploy.attacks.membership.level import without_class_bias
from safedeploy.attacks.membership.likelihood import common, seen, shrunken
from safedeploy.attacks.membership.odds import Odds
from safedeploy.attacks.membership.pool import FEWEST, Pool, pool
from safedeploy.attacks.references import Answers, Bools, Floats
from safedeploy.data.samples import Samples
from safedeploy.seeds import numpy_generator

MOST_ROWS = 150_000  # simulated victims' samples to learn from
MOST_LOOKS = 8  # at a target, each with other references left out


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """Log-odds of membership, the mean over looks with a pair of references left out, as the classifier learned."""
    asked = pool(artifact, knowledge, targets)
    left = left_out(asked.answers.member)
    victims = [number for number, others in left.items() if len(others) >= FEWEST]
    if not victims:
        return asked.scores(_from_known(asked, knowledge.seed))
    rows, member = _simulated(asked, {number: left[number] for number in victims}, knowledge.seed)
    odds = Odds(rows, member, knowledge.seed)
    remaining = sorted({tuple(left[number]) for number in victims})[:MOST_LOOKS]
    looks = [odds.of(signals(asked.phi, _chosen(asked.answers, others), asked.labels)) for others in remaining]
    return asked.scores(np.mean(looks, axis=0))


def signals(phi: Floats, answers: Answers, labels: NDArray[np.int64]) -> Floats:
    """What the classifier sees of n samples, (n, 12), views by their mean. phi: (n, Q); labels: (n,)."""
    middle = (seen(answers.phi, answers.member).mean + seen(answers.phi, ~answers.member).mean) / 2
    answers = Answers(without_class_bias(answers.phi, middle, labels), answers.member)
    phi = without_class_bias(phi, middle, labels)
    inside, outside = seen(answers.phi, answers.member), seen(answers.phi, ~answers.member)
    near, far = shrunken(inside), shrunken(outside)
    log_p = log_expit(phi)
    columns = (
        near.log_density(phi) - far.log_density(phi),
        common(inside).log_density(phi) - common(outside).log_density(phi),
        (phi - near.mean) / near.scale,
        (phi - far.mean) / far.scale,
        near.mean - far.mean,
        near.mean,
        far.mean,
        phi,
        np.log(near.scale),
        np.log(far.scale),
        log_p - rmia.mean_probability(answers),
        log_p - rmia.corrected_probability(answers, 0.0),
    )
    return np.stack([column.mean(axis=1) for column in columns], axis=1)


def left_out(member: Bools) -> dict[int, list[int]]:
    """For each reference that can be a victim, the others it is judged with; its complement is not among them.

    Only where every sample is in equally many of the others, so that their number does not give the victim away.
    member: (K, n).
    """
    usable = {}
    for number, mine in enumerate(member):
        others = [other for other, theirs in enumerate(member) if other != number and not np.array_equal(theirs, ~mine)]
        counts = member[others].sum(axis=0)
        if 0 < counts.min() == counts.max() < len(others):
            usable[number] = others
    return usable


def _simulated(asked: Pool, left: dict[int, list[int]], seed: int) -> tuple[Floats, Bools]:
    """Rows (columns as in `signals`) and membership of the references in `left`, each judged by its others."""
    rows, member = [], []
    each = max(1, MOST_ROWS // len(left))
    for number, others in left.items():
        made = signals(asked.answers.phi[number], _chosen(asked.answers, others), asked.labels)
        kept = numpy_generator(seed, "combined", number).permutation(len(made))[:each]
        rows.append(made[kept])
        member.append(asked.answers.member[number, kept])
    return np.concatenate(rows), np.concatenate(member)


def _from_known(asked: Pool, seed: int) -> Floats:
    """A classifier of the known samples for the targets; the known samples by classifiers of the fold without them."""
    rows = signals(asked.phi, asked.answers, asked.labels)
    member = np.arange(asked.known) < asked.inside
    values = Odds(rows[: asked.known], member, seed).of(rows)
    sides = (np.arange(asked.inside), np.arange(asked.inside, asked.known))
    halves = [numpy_generator(seed, "combined halves", number).permutation(side) for number, side in enumerate(sides)]
    for start in (0, 1):
        held = np.concatenate([half[start::2] for half in halves])
        taught = np.concatenate([half[1 - start :: 2] for half in halves])
        values[held] = Odds(rows[taught], member[taught], seed).of(rows[held])
    return values


def _chosen(answers: Answers, numbers: tuple[int, ...] | list[int]) -> Answers:
    return Answers(answers.phi[list(numbers)], answers.member[list(numbers)])
