"""Reference models on disk: their answers on a pool, never the models themselves; written atomically, read one by one.

A folder holds references.json (results.ReferenceSet), pool.npz (digest (n,) of each input as the audited model takes
it, y (n,), index (n,) into the data) and an .npz a reference: member (n,), seed, and for each file logits (n, views,
classes) and its sha256.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.data.arrays import read_arrays
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.results import ReferenceSet
from safedeploy.rundir import write_bytes

SET, POOL = "references.json", "pool.npz"
AGAIN = "type the same 'safedeploy references' command again"


@dataclass(frozen=True, eq=False)
class Reference:
    """What one reference model leaves: who it trained on (n,), and each file's logits (n, views, classes) float32."""

    member: NDArray[np.bool_]
    seed: int
    logits: Mapping[str, NDArray[np.float32]]
    sha256: Mapping[str, str]


def place(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.npz"


def write_pool(folder: Path, digests: NDArray[np.bytes_], labels: Indices, index: Indices) -> None:
    _write(folder / POOL, {"digest": digests, "y": labels, "index": index})


def write_reference(folder: Path, number: int, reference: Reference) -> None:
    arrays = {"member": reference.member, "seed": np.array(reference.seed)}
    for file, logits in reference.logits.items():
        arrays[f"logits {file}"] = logits
        arrays[f"sha256 {file}"] = np.array(reference.sha256[file])
    _write(place(folder, number), arrays)


def is_complete(folder: Path, number: int, described: ReferenceSet) -> bool:
    """Whether reference `number` is there, whole, with every file's answers."""
    try:
        return bool([_read(place(folder, number), file, described) for file in described.files])
    except UserError:
        return False


def require_references(folder: Path) -> None:
    """Raises UserError where `folder` is none of 'safedeploy references'."""
    if not (folder / SET).is_file():
        raise UserError(f"{folder} holds no reference models (no {SET}); make them with 'safedeploy references'")


def load_references(folder: Path, file: str | None, *, quantised: bool) -> tuple[References, ReferenceSet, str]:
    """The references in `folder` as they answer for an audited file, who they are, and one clause on what differs.

    file: the audited file's name in its bundle, None for a stranger's. quantised: whether it is int8. The answers are
    those of the very file, else of the same precision, else of any. A cut-off build gives its whole pairs.
    Raises UserError where a file is missing or damaged, or no reference is complete.
    """
    require_references(folder)
    described = ReferenceSet.read(folder / SET)
    column, clause = choose(described, file, quantised=quantised)
    digests, labels = _arrays(folder / POOL, "digest", "y")
    if digests.shape != (described.pool,) or digests.dtype != np.dtype("S64") or labels.shape != digests.shape:
        raise _damaged(folder / POOL)
    there = _finished(folder, described.count)
    phi = np.empty((there, described.pool, described.views.count))
    member = np.empty((there, described.pool), dtype=bool)
    for number in range(there):
        member[number], logits = _read(place(folder, number), column, described)
        if labels.min() < 0 or labels.max() >= logits.shape[2]:
            raise _damaged(place(folder, number))
        for view in range(described.views.count):
            phi[number, :, view] = scaled_logit(logits[:, view], labels)
    if there < described.count:
        clause = f"{clause}; {there} of {described.count} are finished"
    return References(digests, labels.astype(np.int64), phi, member, described.views), described, clause


def choose(described: ReferenceSet, file: str | None, *, quantised: bool) -> tuple[str, str]:
    """Which file of the references answers for the audited one, and the clause that says so."""
    if file is not None and file in described.files:
        return file, f"references of {file}"
    alike = [name for name in described.files if (".int8." in name) == quantised]
    column = (alike or described.files)[0]
    if not alike:
        kinds = ("float32", "int8")
        return column, f"references of {column} are {kinds[not quantised]}, the file is {kinds[quantised]}"
    if not quantised:
        served = described.served.get(file or "")
        apart = f" (the audited two differ by at most {served.max_logit_difference:.0e})" if served else ""
        return column, f"references of {column}, the same float32 arithmetic{apart}"
    return column, f"references of {column}, int8 too, perhaps by another quantiser"


def _finished(folder: Path, count: int) -> int:
    """How many references can be read: all, or those before the first that is not there, in whole pairs."""
    missing = [number for number in range(count) if not place(folder, number).is_file()]
    there = missing[0] if missing else count
    if any(place(folder, number).is_file() for number in range(there + 1, count)):
        raise UserError(f"{place(folder, there)} is missing: {AGAIN}, which makes what is not there")
    if missing and there > 1:
        there -= there % 2
    if there == 0:
        raise UserError(f"{folder} holds no finished reference model: {AGAIN}")
    return there


def _read(path: Path, file: str, described: ReferenceSet) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """(member (n,), logits (n, views, classes)) of one reference."""
    member, logits = _arrays(path, "member", f"logits {file}")
    right = (
        member.shape == (described.pool,)
        and member.dtype == np.bool_
        and logits.ndim == 3
        and logits.shape[:2] == (described.pool, described.views.count)
        and logits.dtype == np.float32
        and bool(np.isfinite(logits).all())
    )
    if not right:
        raise _damaged(path)
    return member, logits


def _arrays(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    try:
        return read_arrays(path, *names)
    except UserError:
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is missing, damaged or of other references: {AGAIN}, which makes it anew")


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
