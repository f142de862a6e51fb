"""Ctrl-C: one line that says how to go on."""

import contextlib
from collections.abc import Callable, Iterator

INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C


class Interrupted(Exception):  # noqa: N818
    """The user stopped the command; the message says how to continue it."""


@contextlib.contextmanager
def continued_by(advice: Callable[[], str]) -> Iterator[None]:
    """Where the block is interrupted, `advice()` tells what to type then."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(advice()) from None
