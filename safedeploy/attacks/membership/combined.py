"""Every signal at once: a classifier that learned on the references, each in turn the victim, what a member looks like.

Reference k is judged with the others, less its complement; whether it trained on a sample is known. The classifier sees
φ, its place among the others' with and without the sample, LiRA's, RMIA's and the loss attack's scores; so it learns
what each is worth at this many references, and what no normal distribution says. The attacker's known samples of the
audited model teach a second one: two references cannot stand in for the victim, and those trained in another way than
it teach the wrong thing.
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
from safedeploy.delong import covariance, placements
from safedeploy.roc import auc
from safedeploy.seeds import numpy_generator

MOST_ROWS = 150_000  # simulated victims' samples to learn from
LARGEST_POOL = 20_000  # samples on which a simulated victim is judged
MOST_LOOKS = 8  # at a target, each with other references left out
CLEAR = 2.0  # standard errors by which the known samples' AUC must be higher


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """Log-odds of membership, by what the references taught unless what the known samples taught is clearly better."""
    asked = pool(artifact, knowledge, targets)
    known, simulated = _from_known(asked, knowledge.seed), _from_victims(asked, knowledge.seed)
    if simulated is None:
        return asked.scores(known)
    clear = [values for values in (simulated + known, known) if _lead(asked, values, simulated) > CLEAR]
    return asked.scores(max(clear, key=lambda values: auc(*asked.split(values)), default=simulated))


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


def _from_victims(asked: Pool, seed: int) -> Floats | None:
    """A classifier of references as victims: the mean over looks, some left out as it learned; None without any."""
    left = {number: others for number, others in left_out(asked.answers.member).items() if len(others) >= FEWEST}
    if not left:
        return None
    odds = Odds(*_simulated(asked, left, seed), seed)
    remaining = sorted({tuple(others) for others in left.values()})[:MOST_LOOKS]
    looks = [odds.of(signals(asked.phi, _chosen(asked.answers, others), asked.labels)) for others in remaining]
    return np.asarray(np.mean(looks, axis=0))


def _simulated(asked: Pool, left: dict[int, list[int]], seed: int) -> tuple[Floats, Bools]:
    """Rows (columns as in `signals`) and membership of the references in `left`, each judged by its others."""
    rows, member = [], []
    each = max(1, MOST_ROWS // len(left))
    for number, others in left.items():
        drawn = numpy_generator(seed, "combined", number).permutation(len(asked.labels))[: max(each, LARGEST_POOL)]
        some = Answers(asked.answers.phi[:, drawn], asked.answers.member[:, drawn])
        made = signals(some.phi[number], _chosen(some, others), asked.labels[drawn])
        rows.append(made[:each])
        member.append(some.member[number, :each])
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


def _lead(asked: Pool, values: Floats, over: Floats) -> float:
    """AUC of `values` less that of `over` on the known samples, in standard errors (DeLong et al. 1988)."""
    parts = [placements(*asked.split(one)) for one in (values, over)]
    spread = covariance([inside for inside, _ in parts], [outside for _, outside in parts])
    difference = float(parts[0][0].mean() - parts[1][0].mean())
    error = float(np.sqrt(max(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1], 0.0)))
    return difference / max(error, 1e-12)


def _chosen(answers: Answers, numbers: tuple[int, ...] | list[int]) -> Answers:
    return Answers(answers.phi[list(numbers)], answers.member[list(numbers)])
