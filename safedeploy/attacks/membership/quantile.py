"""Quantile regression (Bertran et al. 2023): how far φ lies above what such an input gets from a model that never saw
it. Known non-members alone are fitted; they set no score or cut that their own regression gives."""

from collections.abc import Callable

import numpy as np

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership import signals
from safedeploy.attacks.membership.fitted import FOLDS, Floats, folds, some
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold
from safedeploy.seeds import derive

KNOWN = 5000  # non-members to learn from
COMPONENTS = 20  # principal components of the input
LOW, MIDDLE, HIGH = 0.16, 0.5, 0.84  # a normal's mean and one deviation either side

Residual = Callable[[Samples, Floats], Floats]


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """(φ − median) / half the distance of the outer quantiles, as regressed on input and label; mean over folds."""
    knowledge = some(knowledge, KNOWN)
    phi_in, phi_out, phi = (
        signals.scaled_logit(artifact.logits(part.x), part.y)
        for part in (knowledge.members, knowledge.nonmembers, targets)
    )
    fold_of = folds(len(phi_out), knowledge.seed)
    members, nonmembers, values = np.zeros(len(phi_in)), np.zeros(len(phi_out)), np.zeros(len(phi))
    for fold in range(FOLDS):
        learns = fold_of != fold
        residual = regress(knowledge.nonmembers.at(learns), phi_out[learns], derive(knowledge.seed, "quantile", fold))
        members += residual(knowledge.members, phi_in) / FOLDS
        values += residual(targets, phi) / FOLDS
        if not learns.all():
            nonmembers[~learns] = residual(knowledge.nonmembers.at(~learns), phi_out[~learns])
    return Scores(values, best_threshold(members, nonmembers))


def regress(samples: Samples, phi: Floats, seed: int) -> Residual:
    """Gradient boosting with pinball loss on principal components of the input and on the label, fitted on `samples`.

    The answer gives the standardised residual of other samples' φ.
    """
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingRegressor

    flat = samples.x.reshape(len(samples.y), -1)
    components = min(COMPONENTS, *flat.shape)
    projection = PCA(components, svd_solver="randomized", random_state=seed % 2**32).fit(flat)

    def rows(part: Samples) -> Floats:
        return np.column_stack([projection.transform(part.x.reshape(len(part.y), -1)), part.y])

    known = rows(samples)
    trees = [
        HistGradientBoostingRegressor(
            loss="quantile",
            quantile=quantile,
            learning_rate=0.05,
            max_leaf_nodes=6,
            min_samples_leaf=min(20, max(2, len(phi) // 20)),
            early_stopping=False,
            random_state=seed % 2**32,
        ).fit(known, phi)
        for quantile in (LOW, MIDDLE, HIGH)
    ]
    usual = float(np.median(trees[2].predict(known) - trees[0].predict(known)))
    narrowest = max(0.1 * usual, 1e-6)  # quantiles fitted apart may touch or cross

    def residual(part: Samples, its_phi: Floats) -> Floats:
        low, middle, high = (one.predict(rows(part)) for one in trees)
        return np.asarray((its_phi - middle) / (np.maximum(high - low, narrowest) / 2))

    return residual
