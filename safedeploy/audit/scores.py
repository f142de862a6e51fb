"""`--scores FILE`: an audit from recorded answers alone, for a model that cannot leave its machine."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.recorded import RecordedArtifact
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.data.arrays import array_names, read_arrays
from safedeploy.data.checks import labels_in_range, whole_labels
from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError

LARGEST = 2**24  # row numbers are float32 inputs


@dataclass(frozen=True, eq=False)
class Recorded:
    """`members`, `nonmembers`: row numbers as inputs, with labels."""

    artifact: RecordedArtifact
    members: Samples
    nonmembers: Samples
    references: References | None


def read_scores(path: Path) -> Recorded:
    """An .npz: `logits` or `probabilities` (n, classes), `y` (n,), `member` (n,) of 0 and 1.

    Optional: `reference_logits` or `reference_probabilities` (K, n, classes) with `reference_member` (K, n).
    Raises UserError with the array and what is wrong with it.
    """
    names = array_names(path)
    answers = _answers(path, names, "", 2)
    y, member = read_arrays(path, "y", "member")
    labels = whole_labels(y, f"{path}: y")
    if len(answers) != len(labels):
        raise UserError(f"{path}: {len(answers):,} rows of answers and {len(labels):,} labels in y; save row by row")
    labels_in_range(labels, answers.shape[1], f"{path}: y")
    inside = _flags(member, (len(labels),), f"{path}: member")
    if len(labels) > LARGEST:
        raise UserError(f"{path} holds {len(labels):,} rows; at most {LARGEST:,} are judged: give a random part")
    artifact = RecordedArtifact(path, answers)
    members, nonmembers = (Samples(artifact.rows[chosen], labels[chosen]) for chosen in (inside, ~inside))
    return Recorded(artifact, members, nonmembers, _references(path, names, artifact, labels))


def _references(
    path: Path, names: list[str], artifact: RecordedArtifact, labels: NDArray[np.int64]
) -> References | None:
    if not any(name.startswith("reference_") for name in names):
        return None
    answers = _answers(path, names, "reference_", 3)
    if answers.shape[1:] != (len(labels), artifact.classes):
        wanted = f"(K, {len(labels)}, {artifact.classes})"
        raise UserError(f"{path}: the references' answers have shape {answers.shape}, not {wanted}; save row by row")
    (member,) = read_arrays(path, "reference_member")
    flags = _flags(member, answers.shape[:2], f"{path}: reference_member")
    phi = np.stack([scaled_logit(one, labels) for one in answers])[:, :, None]
    return References(content_digests(artifact.rows), labels, phi, flags)


def _answers(path: Path, names: list[str], prefix: str, axes: int) -> NDArray[np.float32]:
    """Logits as given, or the logarithms of probabilities."""
    kind = next((kind for kind in ("logits", "probabilities") if f"{prefix}{kind}" in names), None)
    if kind is None:
        held = ", ".join(names)
        raise UserError(f"{path} has neither '{prefix}logits' nor '{prefix}probabilities' (it has: {held}); save one")
    (values,) = read_arrays(path, f"{prefix}{kind}")
    name = f"{path}: {prefix}{kind}"
    if values.ndim != axes or values.shape[-1] < 2 or not np.issubdtype(values.dtype, np.floating):
        shape = "(n, classes)" if axes == 2 else "(K, n, classes)"
        raise UserError(f"{name} is {values.dtype} {values.shape}; save {shape} floats of two classes or more")
    if not len(values):
        raise UserError(f"{name} holds no rows; save one a sample")
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds NaN or infinite values; repair them or leave those rows out")
    if kind == "logits":
        return values.astype(np.float32)
    if values.min() < 0 or not np.allclose(values.sum(axis=-1), 1, atol=1e-3):
        raise UserError(f"{name} are no probabilities: they must not be negative and must add up to 1 in a row")
    return np.asarray(np.log(np.maximum(values, np.finfo(np.float32).tiny)), dtype=np.float32)


def _flags(values: NDArray[np.generic], shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    if values.shape != shape or not np.isin(values, (0, 1)).all():
        raise UserError(f"{name} must be 0 or 1 for each of {shape} samples; it is {values.dtype} {values.shape}")
    return values.astype(bool)
