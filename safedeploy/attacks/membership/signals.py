"""Scores of one sample from its logits and label: higher means 'more likely a member'. All in float64, from log-probabilities."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, xlogy

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Signal = Callable[[ArrayLike, Labels], Floats]


def loss(logits: ArrayLike, labels: Labels) -> Floats:
    """−cross-entropy = log p_y (Yeom et al. 2018). logits: (n, classes), labels: (n,)."""
    log_p = _log_probabilities(logits)
    return log_p[np.arange(len(labels)), labels]


def confidence(logits: ArrayLike, labels: Labels) -> Floats:
    """log max p, blind to the label (Salem et al. 2019): the label-free attacker's loss."""
    return _log_probabilities(logits).max(axis=1)


def entropy(logits: ArrayLike, labels: Labels) -> Floats:
    """−H(p) = Σ p log p, blind to the label (Shokri et al. 2017; Song & Mittal 2021, equation 3)."""
    log_p = _log_probabilities(logits)
    return (np.exp(log_p) * log_p).sum(axis=1)


def modified_entropy(logits: ArrayLike, labels: Labels) -> Floats:
    """(1 − p_y) log p_y + Σ_{i≠y} p_i log(1 − p_i): minus the modified entropy of Song & Mittal 2021, equation 4."""
    log_p = _log_probabilities(logits)
    p = np.exp(log_p)
    own = np.zeros_like(p, dtype=bool)
    own[np.arange(len(labels)), labels] = True
    # 1 − p as the sum of the other probabilities keeps its digits where p is near 1
    rest = p @ (1 - np.eye(p.shape[1]))
    others = xlogy(np.where(own, 0.0, p), rest)
    return rest[own] * log_p[own] + others.sum(axis=1)


def _log_probabilities(logits: ArrayLike) -> Floats:
    return np.asarray(log_softmax(np.asarray(logits, dtype=np.float64), axis=1))
