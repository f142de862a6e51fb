"""A bundle's folder, replaced as a whole."""

from pathlib import Path
from typing import get_args

from safedeploy.data.tokeniser import FILE as TOKENISER
from safedeploy.errors import UserError
from safedeploy.export.targets import FileName

MANIFEST = "manifest.json"


def require_replaceable(folder: Path) -> None:
    """Raises UserError where `folder` holds anything that no bundle holds: that is somebody's, and must stay."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the bundle")
    foreign = sorted({entry.name for entry in folder.iterdir()} - {MANIFEST, TOKENISER, *get_args(FileName)})
    if foreign:
        raise UserError(f"{folder} holds '{foreign[0]}', which is not part of a bundle; name a new or empty folder")


def replace(folder: Path, fresh: Path, aside: Path) -> None:
    """Put `fresh` where `folder` is, and what was there to `aside`; the first rename is undone if the second fails."""
    if not folder.exists():
        fresh.replace(folder)
        return
    folder.replace(aside)
    try:
        fresh.replace(folder)
    except BaseException:
        aside.replace(folder)
        raise
