"""Programs of the system that tests talk to: found, fetched through apt where we may, else the tests are skipped."""

import os
import shutil
import subprocess

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


def needed(program: str, package: str) -> str:
    """Its path. Skips where it is not there and cannot be installed: that takes root and apt."""
    if found := shutil.which(program, path=PATH):
        return found
    if os.geteuid() or not shutil.which("apt-get"):
        pytest.skip(f"needs {program}: install {package}")
    install = ["install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=200", package]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], install):
        subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, timeout=280, check=False)
    found = shutil.which(program, path=PATH)
    if not found:
        pytest.skip(f"needs {program}: apt-get does not bring {package} here")
    return found
