"""Versions that a result names."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("safedeploy", "numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", "onnxscript", "torch", "executorch")


def versions() -> dict[str, str]:
    """Of this program and what its figures rest on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
