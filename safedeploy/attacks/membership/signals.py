"""Scores of samples from logits and labels: higher means 'more likely a member'; float64, from log-probabilities.

They are computed block by block of samples, so that what is made on the way stays small and in the core's cache.
"""

from collections.abc import Callable
from functools import wraps

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Signal = Callable[[ArrayLike, Labels], Floats]

BLOCK = 2**17  # logits of a block


def _in_blocks(signal: Signal) -> Signal:
    @wraps(signal)
    def whole(logits: ArrayLike, labels: Labels) -> Floats:
        logits = np.asarray(logits)
        rows = max(1, BLOCK // max(1, logits.shape[1]))
        if len(logits) <= rows:
            return signal(logits, labels)
        starts = range(0, len(logits), rows)
        return np.concatenate([signal(logits[start : start + rows], labels[start : start + rows]) for start in starts])

    return whole


@_in_blocks
def loss(logits: ArrayLike, labels: Labels) -> Floats:
    """−cross-entropy = log p_y (Yeom et al. 2018). logits: (n, classes), labels: (n,)."""
    log_p = _log_probabilities(logits)
    return _own(log_p, labels)


@_in_blocks
def confidence(logits: ArrayLike, labels: Labels) -> Floats:
    """log max p, blind to the label (Salem et al. 2019): the label-free attacker's loss."""
    return np.asarray(_log_probabilities(logits).max(axis=1))


@_in_blocks
def entropy(logits: ArrayLike, labels: Labels) -> Floats:
    """−H(p) = Σ p log p, blind to the label (Shokri et al. 2017; Song & Mittal 2021, equation 3)."""
    log_p = _log_probabilities(logits)
    return np.asarray((np.exp(log_p) * log_p).sum(axis=1))


@_in_blocks
def modified_entropy(logits: ArrayLike, labels: Labels) -> Floats:
    """(1 − p_y) log p_y + Σ_{i≠y} p_i log(1 − p_i): minus the modified entropy of Song & Mittal 2021, equation 4."""
    log_p = _log_probabilities(logits)
    log_rest = _log_of_the_rest(log_p)
    terms = np.exp(log_p) * log_rest
    terms[np.arange(len(labels)), labels] = np.exp(_own(log_rest, labels)) * _own(log_p, labels)
    return np.asarray(terms.sum(axis=1))


@_in_blocks
def margin(logits: ArrayLike, labels: Labels) -> Floats:
    """log p_y − log of the best other p: how far y is ahead (f₆ of Carlini & Wagner 2017, the sign turned)."""
    logits = np.asarray(logits, dtype=np.float64)
    own = _own(logits, labels)
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(own - others.max(axis=1))


@_in_blocks
def scaled_logit(logits: ArrayLike, labels: Labels) -> Floats:
    """φ = log p_y − log(1 − p_y) (Carlini et al. 2022, LiRA, section V): the label's logit minus logsumexp of the rest.

    Exact where p_y is 0 or 1 to the last digit. logits: (n, classes), labels: (n,) → (n,).
    """
    others = np.array(logits, dtype=np.float64)
    own = _own(others, labels).copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(own - logsumexp(others, axis=1))


def _log_probabilities(logits: ArrayLike) -> Floats:
    """log softmax; of the largest as −log(1 + the others' odds), so that sure answers do not tie at 0."""
    logits = np.asarray(logits, dtype=np.float64)
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    behind = logits - logits[rows, top][:, None]
    behind[rows, top] = -np.inf
    log_total = np.log1p(np.exp(behind).sum(axis=1))
    behind[rows, top] = 0.0
    return np.asarray(behind - log_total[:, None])


def _log_of_the_rest(log_p: Floats) -> Floats:
    """log(1 − p), finite where p is 1 to the last digit: for the largest p as the sum of the others."""
    rows, top = np.arange(len(log_p)), log_p.argmax(axis=1)
    others = log_p.copy()
    others[rows, top] = -np.inf
    rest = np.log1p(-np.minimum(np.exp(others), 0.5))
    rest[rows, top] = logsumexp(others, axis=1)
    return np.asarray(rest)


def _own(values: Floats, labels: Labels) -> Floats:
    """Each row's value at its label."""
    return values[np.arange(len(labels)), labels]
