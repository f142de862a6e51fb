"""Where data sets are looked for, and where what is unpacked from them may be kept."""

import os
from pathlib import Path


def data_root(root: str | None = None) -> Path:
    """`root`, else the environment's SAFEDEPLOY_DATA, else the user's cache; it need not exist and may be read-only."""
    given = root or os.environ.get("SAFEDEPLOY_DATA")
    return Path(given).expanduser() if given else cache_folder()


def cache_folder() -> Path:
    """safedeploy's own writable folder, under XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "safedeploy"
