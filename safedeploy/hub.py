"""The one door to transformers: imported beside a torchvision that may not load, quiet, its failures in one line."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safedeploy.errors import UserError, missing_extra

PREFIX = "hf:"
WAIT = 10  # seconds


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


def loaded(model: str, what: str, load: Callable[..., Any], **options: Any) -> Any:
    """`load` of what `model`, hf:NAME or hf:FOLDER, names. Raises UserError, one line, where it cannot be had."""
    name = model.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    advice = f"give {PREFIX}FOLDER with a BERT or RoBERTa and its tokeniser"
    if name.startswith(("/", ".", "~")) and not folder.is_dir():
        raise UserError(f"--model {model}: there is no folder {folder}; {advice}")
    here = folder.is_dir()
    try:
        return load(str(folder) if here else name, local_files_only=here or not _answers(name), **options)
    except Exception as error:  # the library's errors have no common base
        where = f"in the folder {folder}" if here else "here, nor over the network"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"--model {model}: no {what} {where} ({lines[0][:160]}); {advice}") from None


def _answers(name: str) -> bool:
    """Whether the hub says anything of `name`, asked once: transformers asks a silent one for most of a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(name, timeout=WAIT)
    except (HfHubHTTPError, HFValidationError):
        return True
    except Exception:  # each version raises its own network library's
        return False
    return True
