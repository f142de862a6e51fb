"""Distance to the decision boundary from labels alone, by HopSkipJump (Chen et al. 2020; as an attack on membership
Choquette-Choo et al. 2021 and Li & Zhang 2021): a model keeps what it trained on far from where its answer changes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.attacks.base import Knowledge, Scores
from safedeploy.attacks.membership.fitted import some
from safedeploy.attacks.membership.queries import CELLS, blocks, unremembered
from safedeploy.data.samples import Samples
from safedeploy.roc import best_threshold
from safedeploy.seeds import numpy_generator

QUERIES = 500  # a sample, at most
PROBES = 50  # directions of the first iteration, √t times as many in iteration t
RADIUS = 0.3  # of the distance: how far probes reach; the paper's 1/d of it falls between the steps of an int8 input
KNOWN = 250  # known samples a side whose distances set the cut
STARTS = 1000  # known samples among which a start is looked for
HALVINGS = 8

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Crossed = Callable[[Array, NDArray[np.int64]], Bools]  # inputs, and which sample each belongs to


def score(artifact: Artifact, knowledge: Knowledge, targets: Samples) -> Scores:
    """The signed distance: negative where the answer is wrong, and then that to where it would be right."""
    starts, sides = _starts(artifact, knowledge), some(knowledge, KNOWN)
    members, nonmembers, values = (
        signed_distance(artifact, part, starts, knowledge.seed) for part in (sides.members, sides.nonmembers, targets)
    )
    return Scores(values, best_threshold(members, nonmembers))


def signed_distance(artifact: Artifact, samples: Samples, starts: Samples, seed: int, queries: int = QUERIES) -> Floats:
    """Euclidean distance of each input to the boundary between its label and all others, (n,), in units of the input.

    Positive where the artifact answers the label, negative elsewhere. starts: inputs with the artifact's answers as y,
    one of which lies beyond the boundary; where none does, the distance is that to the farthest of them. At most
    `queries` questions a sample.
    """
    right: Bools = artifact.logits(samples.x).argmax(1) == samples.y
    artifact = unremembered(artifact)
    parts = []
    for rows in blocks(samples.x):
        x, y, inside = samples.x[rows], samples.y[rows], right[rows]

        def crossed(asked: Array, of: NDArray[np.int64], y: NDArray[np.int64] = y, inside: Bools = inside) -> Bools:
            return np.asarray((artifact.logits(asked).argmax(1) == y[of]) != inside[of])

        other_side = (starts.y[None, :] == y[:, None]) != inside[:, None]
        parts.append(_distances(x, starts.x, other_side, crossed, queries, seed))
    return np.asarray(np.where(right, 1.0, -1.0) * np.concatenate(parts))


def _distances(x: Array, starts: Array, other_side: Bools, crossed: Crossed, queries: int, seed: int) -> Floats:
    """other_side: (n, starts), which starts lie beyond each sample's boundary."""
    apart = _apart(x, starts)
    distance: Floats = apart.max(axis=1)
    able = np.flatnonzero(other_side.any(axis=1))
    if able.size:
        nearest = np.where(other_side, apart, np.inf)[able].argmin(axis=1)
        distance[able] = _walk(x[able], starts[nearest], lambda asked, of: crossed(asked, able[of]), queries, seed)
    return distance


def _walk(x: Array, beyond: Array, crossed: Crossed, queries: int, seed: int) -> Floats:
    """HopSkipJump (algorithm 2), every row at once: to the boundary, along its estimated normal, and back to it."""
    size = int(np.prod(x.shape[1:]))
    # to a thousandth of the distance, and to a third of what a probe moves along the normal
    bisections = int(np.ceil(np.log2(max(1000.0, 3 * np.sqrt(size) / RADIUS))))
    point = _bisect(x, beyond, crossed, bisections)
    spent, iteration = 1 + bisections, 0
    while True:
        iteration += 1
        probes = min(int(PROBES * np.sqrt(iteration)), queries - spent - HALVINGS - bisections)
        if probes < PROBES // 2:
            return _norm(point - x)
        distance = _norm(point - x).astype(np.float32)
        generator = numpy_generator(seed, "boundary", iteration)
        normal = _normal(point, RADIUS * distance, probes, crossed, generator)
        stepped = _step(point, normal, distance / np.float32(np.sqrt(iteration)), crossed)
        moved = _bisect(x, stepped, crossed, bisections)
        closer = _norm(moved - x) < distance
        point[closer] = moved[closer]
        spent += probes + HALVINGS + bisections


def _normal(point: Array, radius: Array, probes: int, crossed: Crossed, generator: np.random.Generator) -> Array:
    """Unit vectors (n, …) towards the far side (equation 16); all rows are probed along the same random directions."""
    directions = generator.standard_normal((probes, *point.shape[1:]), dtype=np.float32)
    directions /= _column(_norm(directions), point)
    signs = np.empty((len(point), probes), dtype=np.float32)
    together = max(1, CELLS // point.size)
    for first in range(0, probes, together):
        some = directions[first : first + together]
        asked = point[:, None] + _column(radius, point)[:, None] * some[None]
        of = np.repeat(np.arange(len(point)), len(some))
        signs[:, first : first + len(some)] = np.where(
            crossed(asked.reshape(-1, *point.shape[1:]), of).reshape(len(point), -1), 1.0, -1.0
        )
    mean = signs.mean(axis=1, keepdims=True)
    weights = np.where(np.abs(mean) < 1, signs - mean, signs)
    normal = (weights @ directions.reshape(probes, -1)).reshape(point.shape)
    return np.asarray(normal / _column(np.maximum(_norm(normal), 1e-12), point), dtype=np.float32)


def _step(point: Array, normal: Array, length: Array, crossed: Crossed) -> Array:
    """`point` moved along `normal` by the longest of length, length/2, … that is beyond the boundary, else unmoved."""
    moved, pending = point.copy(), np.arange(len(point))
    for _ in range(HALVINGS):
        asked = point[pending] + _column(length[pending], point) * normal[pending]
        done = crossed(asked, pending)
        moved[pending[done]] = asked[done]
        pending, length = pending[~done], length / np.float32(2)
        if not pending.size:
            break
    return moved


def _bisect(x: Array, beyond: Array, crossed: Crossed, bisections: int) -> Array:
    """Points between x and `beyond`, just beyond the boundary."""
    rows = np.arange(len(x))
    low, high = np.zeros(len(x), dtype=np.float32), np.ones(len(x), dtype=np.float32)
    for _ in range(bisections):
        middle = (low + high) / 2
        far = crossed(x + _column(middle, x) * (beyond - x), rows)
        low, high = np.where(far, low, middle), np.where(far, middle, high)
    return np.asarray(x + _column(high, x) * (beyond - x))


def _starts(artifact: Artifact, knowledge: Knowledge) -> Samples:
    """Some known samples with the artifact's answers for labels."""
    x = np.concatenate([knowledge.members.x, knowledge.nonmembers.x])
    answers = np.concatenate([artifact.logits(part.x).argmax(1) for part in (knowledge.members, knowledge.nonmembers)])
    chosen = numpy_generator(knowledge.seed, "starts").permutation(len(x))[:STARTS]
    return Samples(x[chosen], answers[chosen])


def _apart(x: Array, starts: Array) -> Floats:
    """Euclidean distances (n, starts)."""
    a, b = x.reshape(len(x), -1), starts.reshape(len(starts), -1)
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), dtype=np.float64)


def _norm(x: Array) -> Floats:
    return np.asarray(np.linalg.norm(x.reshape(len(x), -1).astype(np.float64), axis=1))


def _column(values: NDArray[np.float32] | Floats, like: Array) -> Array:
    """(n,) → (n, 1, …) with as many axes as `like`."""
    return values.astype(np.float32).reshape(-1, *(1,) * (like.ndim - 1))
