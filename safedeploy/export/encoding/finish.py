"""What happens to an exported file last, before it is checked and ships."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safedeploy.export.encoding.encode import Encoding, encode
from safedeploy.export.encoding.rounding import round_file

if TYPE_CHECKING:
    from safedeploy.export.targets import Encoding as Wanted

ROUNDED = "model.onnx"


def finish(source: Path, path: Path, wanted: "Wanted") -> Encoding | None:
    """Write `source` to `path`: model.onnx rounded where that is wanted, ONNX files encoded, all else as it is.

    Returns what encoding did, None where nothing was encoded. Raises as `encode` does.
    """
    shutil.copyfile(source, path)
    if source.suffix != ".onnx":
        return None
    if source.name == ROUNDED and wanted.values != "float32":
        round_file(source, path, wanted.values)
    return encode(path, path) if wanted.sparse else None
