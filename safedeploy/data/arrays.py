"""An .npz file, opened without ever unpickling."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError


def read_arrays(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """The arrays called `names`, in that order. Raises UserError where one is missing, holds objects or is damaged."""
    content = _open(path, names)
    with content:
        arrays = []
        for name in names:
            if name not in content.files:
                held = ", ".join(content.files) or "none"
                raise UserError(f"{path} has no array '{name}' (it has: {held}); save it as '{name}'")
            try:
                arrays.append(content[name])
            except ValueError as error:
                if "pickle" in str(error):
                    reason = "holds Python objects, which are never unpickled; save a plain array"
                    raise UserError(f"{path}: '{name}' {reason}") from None
                raise _damaged(path, name, error) from None
            except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
                raise _damaged(path, name, error) from None
    return tuple(arrays)


def array_names(path: Path) -> list[str]:
    """Names of the arrays in `path`. Raises UserError where it is no .npz."""
    with _open(path, ("x", "y")) as content:
        return list(content.files)


def _open(path: Path, names: tuple[str, ...]) -> "np.lib.npyio.NpzFile":
    try:
        content = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path} is not an .npz file: write it with numpy.savez(path, {_example(names)})") from None
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise UserError(f"{path} holds a single array, not an .npz: write it with numpy.savez(path, {_example(names)})")
    return content


def _damaged(path: Path, name: str, error: Exception) -> UserError:
    return UserError(f"{path}: '{name}' is damaged ({str(error).splitlines()[0]}); save the file again")


def _example(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name}={name}" for name in names)
