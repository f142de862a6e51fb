"""Checkpoints that survive a kill: written atomically, the newest two kept, a broken one passed over."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from safedeploy.rundir import write_bytes

KEEP = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(folder / f"{step:09d}.pt", buffer.getvalue())
    for old in sorted(folder.glob("*.pt"))[:-KEEP]:
        old.unlink()


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that reads back whole, or None. Never unpickles code (`weights_only`)."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    continue
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, zipfile.BadZipFile, EOFError, pickle.UnpicklingError):
            continue
        return state
    return None
