"""A file fetched from the first address that answers, kept only when its published md5 matches."""

import hashlib
import http.client
import os
import stat
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safedeploy.rundir import write_bytes

ANSWER_SECONDS = 5.0
_CHUNK = 1 << 18

Progress = Callable[[float], None]


class NoDownload(Exception):  # noqa: N818
    """No address gave the file; the message says why, for an error that knows what the file is for."""


def download(addresses: Sequence[str], md5: str, path: Path, progress: Progress | None = None) -> None:
    """Write the file to `path`; nothing, not even a folder, is made before the whole file has come.

    Raises NoDownload where the folder is read-only or no address gives the file, within seconds without a network.
    """
    if not _writable(path.parent):
        raise NoDownload(f"{path.parent} is read-only")
    reasons = []
    for address in addresses:
        try:
            content = _read(_answer(address), progress)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{address.split('/')[2]}: {_reason(error)}")
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            write_bytes(path, content)
            return
        reasons.append(f"{address.split('/')[2]}: what came is not the published file")
    raise NoDownload("; ".join(reasons))


def _writable(folder: Path) -> bool:
    """Whether `folder` may be written, or made; one without any write bit is meant to be left alone, by root too."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return os.access(existing, os.W_OK) and bool(existing.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def _answer(address: str) -> Any:
    """The open response; asked in a thread, as name look-up and rows of silent addresses outlast a socket's timeout."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(address, headers={"User-Agent": "safedeploy"})
            outcome.append(urllib.request.urlopen(request, timeout=ANSWER_SECONDS))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer in {ANSWER_SECONDS:.0f} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _read(response: Any, progress: Progress | None) -> bytes:
    content = bytearray()
    with response:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            content += chunk
            if progress and total:
                progress(min(1.0, len(content) / total))
    return bytes(content)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    cause = inner if isinstance(inner, Exception) else error
    return (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).splitlines()[0]
