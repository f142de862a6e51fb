"""The command line: one file a command; a line an error; exit codes 0 done, 1 failed, 2 bad input, 3 over a budget."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from safedeploy.cli.interrupted import INTERRUPTED, Interrupted
from safedeploy.errors import UserError

BAD_INPUT = 2
# what every wrong use of the command line is; typer shows this child of its child alone
UsageFault: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help=__import__("safedeploy").__doc__,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from safedeploy.versions import versions

        print(f"safedeploy {versions().get('safedeploy', '(not installed)')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


COMMANDS = (
    "plan",
    "run",
    "compress",
    "export",
    "verify",
    "references",
    "audit",
    "attribute",
    "inversion",
    "bench",
    "device",
    "inspect",
    "report",
    "targets",
    "data",
    "doctor",
)
for _name in COMMANDS:
    _module = import_module(f"safedeploy.cli.{_name}")
    _command = getattr(_module, _name)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; always ends in SystemExit with the exit code, except for a fault of safedeploy itself."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(typed or ["--help"], prog_name="safedeploy", standalone_mode=False)
        if code == INTERRUPTED:  # typer's own answer to Ctrl-C
            raise Interrupted("type the same command to start again")
    except UserError as error:
        _say(error)
        code = error.exit_code
    except Interrupted as stopped:
        _say(f"interrupted; {stopped}")
        code = INTERRUPTED
    except UsageFault as fault:
        _say(_told(fault))
        code = BAD_INPUT
    raise SystemExit(code or 0)


def _say(message: object) -> None:
    """One line on standard error, whatever the message holds."""
    print(f"safedeploy: {' '.join(str(message).split())}", file=sys.stderr)


def _told(fault: Any) -> str:
    """Typer's message, and where the right usage can be read."""
    command = fault.ctx.command_path if getattr(fault, "ctx", None) else "safedeploy"
    message: str = fault.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see '{command} --help'"
