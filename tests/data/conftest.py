"""Every data test has a cache of its own, and no data root from outside."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SAFEDEPLOY_DATA", raising=False)
    return tmp_path / "cache" / "safedeploy"


@pytest.fixture(scope="session")
def real_root():
    """The folder with the real data sets, named by SAFEDEPLOY_DATA; tests that ask for it are marked `real`."""
    root = os.environ.get("SAFEDEPLOY_DATA")
    if not root:
        pytest.skip("SAFEDEPLOY_DATA names no folder")
    return Path(root)


@pytest.fixture
def tree():
    """What a folder holds: every path with its size."""

    def of(root):
        return {str(path.relative_to(root)): path.stat().st_size for path in sorted(root.rglob("*"))}

    return of
