"""The one error a user can cause: a single line that names the thing, says what is wrong and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Wrong usage or bad input. The command line prints its one line on standard error and exits with `exit_code`."""

    exit_code = 2


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not one of `known`, with the nearest known one."""
    names = sorted(known)
    longer = [one for one in names if name and one.startswith(name)]
    near = longer or get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(names)})")


def missing_extra(what: str, extra: str) -> UserError:
    """The error for a command whose optional dependencies are not installed."""
    return UserError(f"{what} needs the extra '{extra}': python -m pip install 'safedeploy[{extra}]'")
