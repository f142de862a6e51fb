"""What canaries say of a file: a lower bound on the ε of the one training it came from (Steinke et al. 2023)."""

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.audit.epsilon import epsilon_bound
from safedeploy.data.canaries import Kind
from safedeploy.data.samples import Samples
from safedeploy.results import CanaryEvidence
from safedeploy.roc import auc_interval


def canary_evidence(
    artifact: Artifact,
    canaries: Samples,
    included: NDArray[np.bool_],
    kind: Kind,
    seed: int,
) -> CanaryEvidence:
    """`canaries`: each under the label it was trained with; `included`: how its coin fell.

    The score is φ = log p − log(1 − p) of that label. It and the shares called in are fixed before the coins are seen.
    """
    phi = scaled_logit(artifact.logits(canaries.x), canaries.y)
    inside, outside = phi[included], phi[~included]
    value, low, high = auc_interval(inside, outside)
    return CanaryEvidence(
        canaries=included.size,
        included=int(included.sum()),
        kind=kind,
        auc=value,
        auc_low=low,
        auc_high=high,
        epsilon=epsilon_bound(inside, outside, 1, seed),
    )
