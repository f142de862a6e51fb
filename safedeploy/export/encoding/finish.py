"""What happens to an exported file last, before it is checked and ships."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safedeploy.export.encoding.encode import Encoding, encode
from safedeploy.export.encoding.rounding import round_file

if TYPE_CHECKING:
    from safedeploy.export.targets import Target


def finish(source: Path, path: Path, target: "Target") -> Encoding | None:
    """Write `source` to `path` as `target` wants it: rounded, ONNX files encoded, all else as it is.

    Returns what encoding did, None where nothing was encoded. Raises as `encode` does.
    """
    shutil.copyfile(source, path)
    if source.suffix != ".onnx":
        return None
    if how := target.rounding(source.name):
        round_file(source, path, how)
    return encode(path, path) if target.encoding.sparse else None
