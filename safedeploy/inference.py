"""What a file gives away besides membership: a hidden column of a table, and what its classes look like."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.artifacts.remember import remember
from safedeploy.auditing import questioned
from safedeploy.compression import PathLike, Progress, silent
from safedeploy.errors import UserError
from safedeploy.results import AttributeEvidence, InversionEvidence
from safedeploy.rundir import require_writable

if TYPE_CHECKING:
    from torch import nn


def attribute(
    path: PathLike, sensitive: str | None = None, *, progress: Progress = silent, **samples: Any
) -> AttributeEvidence:
    """Infer the column `sensitive` of every sample judged from the others, the label and the file `path`.

    sensitive: a column's number, several as 3,7 or 4-9, or its name where the run's table has names; by default the
    one that was withheld from the model, of the run, or as the array 'sensitive' of members and nonmembers. samples:
    members, nonmembers, output, data_root and seed, as in `auditing.questioned`. Raises UserError for bad input.
    """
    from safedeploy.attacks.attribute.column import parse_columns
    from safedeploy.audit.attribute import audit_attribute
    from safedeploy.audit.withheld import audit_withheld

    path = Path(path)
    (artifact,), exam, examples = questioned([path], **samples)
    if exam.withheld is not None and sensitive in (None, exam.withheld.column):
        stage = progress(f"infer column {exam.withheld.column} from {path.name}")
        return audit_withheld(remember(artifact), exam, progress=stage)
    if sensitive is None:
        raise UserError(f"no column was withheld from {path.name}: name one of its inputs with --sensitive")
    names = examples.dataset.columns if examples is not None else None
    columns = parse_columns(sensitive, artifact.input_shape, names)
    stage = progress(f"infer column {sensitive} from {path.name}")
    return audit_attribute(artifact, exam, columns, name=sensitive, progress=stage)


def inversion(path: PathLike, out: PathLike, *, progress: Progress = silent, **samples: Any) -> InversionEvidence:
    """Rebuild a typical input of every class from the file `path`: out/inversion.npz, .json, and .png for images.

    The white box is climbed where it opens, else the slope is estimated from answers. samples: as in `attribute`.
    Raises UserError for bad input.
    """
    from safedeploy.audit.inversion import audit_inversion, save_inversion

    path, folder = Path(path), Path(out)
    require_writable(folder / "inversion.npz")
    (artifact,), exam, _ = questioned([path], **samples)
    found = audit_inversion(artifact, exam, module=_module(artifact), progress=progress(f"invert {path.name}"))
    picture = len(artifact.input_shape) == 3 and artifact.input_shape[0] in (1, 3)
    save_inversion(found, folder / "inversion.npz", folder / "inversion.png" if picture else None)
    found.evidence.write(folder / "inversion.json")
    return found.evidence


def _module(artifact: Artifact) -> "nn.Module | None":
    """The file's white box as a module that answers logits, where it opens."""
    try:
        return getattr(artifact.unpack(), "module", None)
    except Unopenable:
        return None
