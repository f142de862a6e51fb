"""The one door to transformers: imported beside a torchvision that may not load, quiet, its failures in one line."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safedeploy.errors import UserError, missing_extra

PREFIX = "hf:"


def transformers(what: str) -> Any:
    """The library. `what` needs it, for the UserError where it is not installed."""
    from safedeploy.vision import torchvision

    with contextlib.suppress(UserError):  # transformers imports it where it is installed
        torchvision()
    try:
        import transformers
    except ImportError:
        raise missing_extra(what, "text") from None
    log: Any = transformers.utils.logging
    log.set_verbosity_error()
    log.disable_progress_bar()
    return transformers


def loaded(model: str, what: str, load: Callable[[str], Any]) -> Any:
    """`load` of what `model`, hf:NAME or hf:FOLDER, names. Raises UserError, one line, where it cannot be had."""
    name = model.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    try:
        return load(str(folder) if folder.is_dir() else name)
    except Exception as error:  # the library's errors have no common base
        where = f"in the folder {folder}" if folder.is_dir() else "here, nor over the network"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        advice = f"give {PREFIX}FOLDER with a BERT or RoBERTa and its tokeniser"
        raise UserError(f"--model {model}: no {what} {where} ({lines[0][:160]}); {advice}") from None
