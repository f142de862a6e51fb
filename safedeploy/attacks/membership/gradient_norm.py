"""White box: the likelihood ratio of a sample's per-layer gradient norms under 'member' and 'non-member'.

The norms are a feature of Nasr et al. (2019, section III). The ratio is a classifier's log odds (Cranmer et al. 2015,
arXiv:1506.02169): it need not rise with the norm, since members that training still works on are neither the samples
of the smallest loss nor of the largest. Gaussians on either side miss that (Location-30: AUC .81 against .89).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact, WhiteBox
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold
from safedeploy.seeds import derive, numpy_generator

BATCH = 256
SMALLEST = 1e-12  # norms below it, of samples that the model is sure of in float32, count as it
FORESTS = 10
NULL = 1e-8  # of the largest variance: directions below it hold rounding alone

Floats = NDArray[np.float64]


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """The threshold is set on the known samples by forests that did not learn from them."""
    box = artifact.unpack()
    members, nonmembers, wanted = (log_norms(box, part) for part in (knowledge.members, knowledge.nonmembers, targets))
    values, known = log_ratios(members, nonmembers, wanted, knowledge.seed)
    return Scores(values, best_threshold(known[: len(members)], known[len(members) :]))


def log_norms(box: WhiteBox, samples: Samples) -> Floats:
    """(n, layers); only a batch's activations are in memory at a time."""
    rows = [slice(start, start + BATCH) for start in range(0, len(samples.y), BATCH)]
    norms = [box.inner(samples.x[part], samples.y[part]).gradient_norms for part in rows]
    return np.log(np.maximum(np.concatenate(norms), SMALLEST))


def log_ratios(members: Floats, nonmembers: Floats, wanted: Floats, seed: int) -> tuple[Floats, Floats]:
    """log p(v | member) − log p(v | non-member) of `wanted`, and of members then non-members out of bag.

    Boosted trees on principal components, in which the ratios between layers' norms are coordinates, each on a
    bootstrap that holds as many members as non-members; their mean.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = np.concatenate([members, nonmembers])
    whiten = _whitening(known)
    known, wanted = whiten(known), whiten(wanted)
    sides = np.arange(len(members)), np.arange(len(members), len(known))
    draws = min(len(members), len(nonmembers))
    total, seen = np.zeros(len(known)), np.zeros(len(known))
    values = np.zeros(len(wanted))
    for number in range(FORESTS):
        generator = numpy_generator(seed, "gradient-norm", number)
        rows = np.concatenate([generator.choice(side, draws) for side in sides])
        trees = HistGradientBoostingClassifier(
            max_depth=3,
            max_iter=40,
            early_stopping=False,
            random_state=derive(seed, "gradient-norm trees", number) % 2**32,
        )
        trees.fit(known[rows], np.repeat([1, 0], draws))
        values += trees.decision_function(wanted) / FORESTS
        left = np.setdiff1d(np.arange(len(known)), rows)
        total[left] += trees.decision_function(known[left])
        seen[left] += 1
    return values, total / np.maximum(seen, 1)


def _whitening(known: Floats) -> Callable[[Floats], Floats]:
    """Onto principal components of variance 1."""
    centre = known.mean(0)
    variances, directions = np.linalg.eigh(np.cov(known, rowvar=False).reshape(known.shape[1], known.shape[1]))
    kept = variances > max(NULL * variances.max(), np.finfo(float).tiny)
    directions = directions[:, kept] / np.sqrt(variances[kept])

    def whiten(values: Floats) -> Floats:
        return np.asarray((values - centre) @ directions) if kept.any() else np.zeros((len(values), 1))

    return whiten
