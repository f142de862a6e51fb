"""Class-representative inversion judged: do inputs rebuilt from a file resemble the class, or even its members?"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import log_softmax

from safedeploy.artifacts.base import Array, Artifact
from safedeploy.attacks.inversion.ascent import STEPS, invert
from safedeploy.attacks.inversion.gradient import DRAWS, PAIRS, estimated, exact
from safedeploy.attacks.inversion.prior import prior
from safedeploy.audit.exam import Exam
from safedeploy.data.samples import Samples, joined
from safedeploy.errors import UserError
from safedeploy.results import InversionEvidence, InvertedClass, Resemblance, SampleCounts
from safedeploy.roc import CONFIDENCE
from safedeploy.rundir import write_bytes
from safedeploy.seeds import numpy_generator

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float64]
Finding = Literal["members", "class", "nothing", "inconclusive"]

PERMUTATIONS = 9999
FEWEST_CLASSES = 4  # of three, one deal in six puts every input in its place: chance explains anything
MIN_OF_CLASS = 2  # samples of a class on either side, for a spread


@dataclass(frozen=True, eq=False)
class Inversion:
    """`inputs` (C, *input_shape): one a class of `labels`, as the model takes it. `known`: its known samples' mean."""

    evidence: InversionEvidence
    labels: tuple[str, ...]
    inputs: Array
    known: Array


def audit_inversion(
    artifact: Artifact,
    exam: Exam,
    *,
    module: "nn.Module | None" = None,
    steps: int = STEPS,
    progress: Callable[[float], None] | None = None,
) -> Inversion:
    """Rebuild every class's typical input and judge it on the samples to be judged, by class.

    module: the file's white box, answering logits; without it the slope is estimated from answers. Give the artifact
    itself, not one that remembers. Raises UserError where fewer than two classes have samples on every side.
    """
    judged = _judged_classes(exam)
    known, seed = joined(exam.knowledge.members, exam.knowledge.nonmembers), exam.knowledge.seed
    before = prior(exam.knowledge)
    slope = estimated(artifact, before, seed) if module is None else exact(module, before, seed)
    inputs = invert(slope, before, artifact.classes, steps, progress)
    confidence = np.exp(log_softmax(artifact.logits(inputs).astype(np.float64), axis=1).diagonal())
    means = _means(known, judged).astype(np.float32)
    mine, theirs = (_Similarity(part, before.mean, exam, judged, seed) for part in (inputs[judged], means))
    rebuilt = mine.resemblance()
    names = tuple(exam.class_names[label] for label in judged)
    rows = [
        InvertedClass(
            label=name,
            confidence=float(confidence[judged[at]]),
            similarity=float(mine.members[at, at]),
            rank=int(mine.ranks[at]),
            known_similarity=float(theirs.members[at, at]),
            known_rank=int(theirs.ranks[at]),
        )
        for at, name in enumerate(names)
    ]
    evidence = InversionEvidence(
        access="black" if module is None else "white",
        queries=steps * artifact.classes * (2 * PAIRS if module is None else DRAWS),
        classes=rows,
        inversion=rebuilt,
        known=theirs.resemblance(),
        samples=SampleCounts(members=len(exam.members.y), nonmembers=len(exam.nonmembers.y)),
        finding=_finding(rebuilt, len(judged), shifted=exam.blind.shifted),
    )
    return Inversion(evidence, names, inputs[judged], means)


def save_inversion(inversion: Inversion, values: Path, picture: Path | None = None) -> None:
    """`values`: an .npz of `inputs`, `known` and `labels`. `picture`: a PNG, for images of 1 or 3 channels."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inputs=inversion.inputs, known=inversion.known, labels=np.array(inversion.labels))
    write_bytes(values, buffer.getvalue())
    if picture is not None:
        write_bytes(picture, thumbnails(inversion))


def thumbnails(inversion: Inversion) -> bytes:
    """A PNG: each class's input rebuilt from the file, and below it the mean of its known samples; contrasts stretched.

    Raises UserError where the inputs are no images of 1 or 3 channels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shape = inversion.inputs.shape[1:]
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"inputs of shape {shape} are no images of 1 or 3 channels: save the values alone")
    count = len(inversion.labels)
    figure = Figure(figsize=(1.1 * count + 1, 2.8), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, count, squeeze=False)
    for row, (title, images) in enumerate((("from the file", inversion.inputs), ("known mean", inversion.known))):
        for column, image in enumerate(images):
            low, high = float(image.min()), float(image.max())
            pixels = (np.moveaxis(image, 0, -1) - low) / max(high - low, 1e-12)
            place = axes[row, column]
            place.imshow(pixels if shape[0] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
            place.set_xticks([])
            place.set_yticks([])
            if row == 0:
                place.set_title(inversion.labels[column], fontsize=8)
        axes[row, 0].set_ylabel(title, fontsize=8)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


class _Similarity:
    """Cosines of one input a class with the samples judged, all of them less the average known sample."""

    def __init__(self, inputs: Array, centre: Floats, exam: Exam, judged: NDArray[np.int64], seed: int) -> None:
        directions = _units(inputs - centre)
        self._seed = seed
        self.members, self.nonmembers = (
            directions @ _units(_means(side, judged) - centre).T for side in (exam.members, exam.nonmembers)
        )
        self.ranks = 1 + (self.members > self.members.diagonal()[:, None]).sum(axis=1)
        self._singles = [
            [_units(side.x[side.y == label] - centre) @ directions[at] for at, label in enumerate(judged)]
            for side in (exam.members, exam.nonmembers)
        ]

    def resemblance(self) -> Resemblance:
        classes = len(self.members)
        own = float(self.members.diagonal().mean())
        gaps = [inside.mean() - outside.mean() for inside, outside in zip(*self._singles, strict=True)]
        spread = sum(part.var(ddof=1) / part.size for side in self._singles for part in side) / classes**2
        half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(spread))
        closer = float(np.mean(gaps))
        return Resemblance(
            members=own,
            nonmembers=float(self.nonmembers.diagonal().mean()),
            others=float((self.members.sum() - self.members.trace()) / (classes * (classes - 1))),
            first=int((self.ranks == 1).sum()),
            permutation_p=self._permutation_p(own),
            closer=closer,
            closer_low=closer - half,
            closer_high=closer + half,
        )

    def _permutation_p(self, own: float) -> float:
        generator = numpy_generator(self._seed, "inversion permutations")
        classes = np.arange(len(self.members))
        dealt = generator.permuted(np.tile(classes, (PERMUTATIONS, 1)), axis=1)
        reached = self.members[classes, dealt].mean(axis=1) >= own - 1e-12
        return float((1 + reached.sum()) / (1 + PERMUTATIONS))


def _finding(rebuilt: Resemblance, classes: int, *, shifted: bool) -> Finding:
    if classes < FEWEST_CLASSES:
        return "inconclusive"
    if rebuilt.permutation_p >= 1 - CONFIDENCE:
        return "nothing"
    if rebuilt.closer_low > 0:
        return "inconclusive" if shifted else "members"
    return "class"


def _judged_classes(exam: Exam) -> NDArray[np.int64]:
    """Classes with known samples and enough to judge on either side."""
    counts = [np.bincount(part.y, minlength=len(exam.class_names)) for part in (exam.members, exam.nonmembers)]
    known = np.bincount(joined(exam.knowledge.members, exam.knowledge.nonmembers).y, minlength=len(exam.class_names))
    judged = np.flatnonzero((np.minimum(*counts) >= MIN_OF_CLASS) & (known > 0))
    if len(judged) < 2:
        raise UserError(
            f"an inversion is judged on two classes or more with {MIN_OF_CLASS} members and {MIN_OF_CLASS} non-members"
            f" each; there are {len(judged)}: give more samples"
        )
    return judged


def _means(samples: Samples, labels: NDArray[np.int64]) -> Floats:
    return np.stack([samples.x[samples.y == label].mean(axis=0, dtype=np.float64) for label in labels])


def _units(x: NDArray[np.floating]) -> Floats:
    """Rows flattened and brought to length 1; a row of zeros stays."""
    flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))
