"""Silence around the exporters: their prints, warnings, logs and native messages, while a progress bar stays alive."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO, cast


class _Muted(io.TextIOBase):
    """Drops what is written. rich draws on `rich_proxied_file` where a stream has one, so its bars keep moving."""

    def __init__(self, live: TextIO) -> None:
        self.rich_proxied_file = live

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that Python or native code says inside reaches standard output or standard error. Exceptions pass."""
    with contextlib.ExitStack() as stack:
        live_out = _redirect(stack, sys.stdout, 1)
        live_err = _redirect(stack, sys.stderr, 2)
        stack.enter_context(contextlib.redirect_stdout(cast(TextIO, _Muted(live_out))))
        stack.enter_context(contextlib.redirect_stderr(cast(TextIO, _Muted(live_err))))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        yield


def _redirect(stack: contextlib.ExitStack, stream: TextIO, descriptor: int) -> TextIO:
    """Point `descriptor` at nothing until the stack closes; returns a stream that still reaches where `stream` went."""
    real: TextIO = getattr(stream, "rich_proxied_file", stream)
    real.flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # closed by whoever started us: native code has nowhere to write to
        return real
    stack.callback(os.close, saved)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), descriptor)
    stack.callback(os.dup2, saved, descriptor)
    try:
        same = real.fileno() == descriptor
    except (OSError, ValueError):
        same = False
    if not same:
        return real
    return stack.enter_context(open(os.dup(saved), "w", buffering=1, encoding=real.encoding, errors=real.errors))  # noqa: PTH123
