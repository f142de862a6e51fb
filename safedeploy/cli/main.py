"""The command line: one file a command, errors in one line, exit codes 0 done, 1 failed, 2 bad input, 3 budget exceeded."""

import sys
from importlib import import_module

import typer

from safedeploy.errors import UserError

INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C

app = typer.Typer(
    help=__import__("safedeploy").__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = ("run", "compress", "export", "audit", "bench", "report", "targets", "data", "doctor")
for _name in COMMANDS:
    _module = import_module(f"safedeploy.cli.{_name}")
    app.command(_name)(getattr(_module, _name))


def main() -> None:
    try:
        app()
    except UserError as error:
        print(f"safedeploy: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("safedeploy: interrupted; what was finished is kept, and the same command continues it", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
