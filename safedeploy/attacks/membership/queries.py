"""Asking an artifact about changed copies of samples: block by block, every sample changed alike, nothing kept."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.artifacts.remember import Remembered
from safedeploy.data.samples import Samples

Floats = NDArray[np.float64]
Change = Callable[[Array], Array]  # (n, *input_shape) → the same shape
Signal = Callable[[Array, NDArray[np.int64]], Floats]  # logits, labels → a number each
Reading = Callable[[Array, slice], Floats]  # logits of some samples, and which samples these are → a number or row each

CELLS = 2**20  # numbers of input in one block: 4 MB


def mean_over_copies(artifact: Artifact, x: Array, changes: Sequence[Change], read: Reading) -> Floats:
    """The mean over `changes` of what `read` says of the answers to changed inputs, (n, …).

    A change treats every sample alike, so no sample's figure depends on which others are asked about.
    """
    artifact = unremembered(artifact)
    parts = []
    for rows in blocks(x):
        total = sum(read(artifact.logits(change(x[rows])), rows) for change in changes)
        parts.append(np.asarray(total, dtype=np.float64) / len(changes))
    return np.concatenate(parts)


def averages(artifact: Artifact, samples: Samples, steps: Sequence[Sequence[Change]], *signals: Signal) -> Floats:
    """(n, steps · signals): each signal's mean over the changes of a step, step by step."""

    def read(logits: Array, rows: slice) -> Floats:
        return np.column_stack([signal(logits, samples.y[rows]) for signal in signals])

    return np.concatenate([mean_over_copies(artifact, samples.x, step, read) for step in steps], axis=1)


def right(logits: Array, labels: NDArray[np.int64]) -> Floats:
    """1 where the largest logit is the label's, else 0: all that a label tells."""
    return np.asarray(logits.argmax(axis=1) == labels, dtype=np.float64)


def blocks(x: Array) -> Iterator[slice]:
    """Slices of x, of at most CELLS numbers each."""
    size = max(1, CELLS // max(1, int(np.prod(x.shape[1:]))))
    return (slice(start, min(start + size, len(x))) for start in range(0, max(1, len(x)), size))


def unremembered(artifact: Artifact) -> Artifact:
    """The artifact behind one that remembers, which would keep every changed copy for as long as it lives."""
    return artifact.artifact if isinstance(artifact, Remembered) else artifact
