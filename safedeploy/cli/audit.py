"""`safedeploy audit`: how much an exported file tells about its training data."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


class Format(StrEnum):
    md = "md"
    json = "json"


def audit(
    file: Annotated[Path, typer.Argument(help="The file that ships: .onnx or .pte, recognised by content.")],
    members: Annotated[
        Path | None, typer.Option("--members", help=".npz with x, y: samples it was trained on.")
    ] = None,
    nonmembers: Annotated[
        Path | None, typer.Option("--nonmembers", help=".npz with x, y: samples it never saw.")
    ] = None,
    dense: Annotated[Path | None, typer.Option("--dense", help="The dense control's file of the same kind.")] = None,
    budget: o.BudgetOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive verdict exits 3 too.")] = False,
    data_root: o.DataRootOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the attacker's draws; the run's by default.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.md,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file instead.")] = None,
    json: o.JsonOption = False,
) -> None:
    """Attack an exported file with membership inference, beside its controls; exit 3 when a budget is exceeded."""
    from safedeploy import pipeline
    from safedeploy.audit.budget import parse_budget
    from safedeploy.cli.outcome import finish
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_evidence
    from safedeploy.rundir import require_writable

    if out is not None:
        require_writable(out)
    with shown() as progress:
        evidence = pipeline.audit(
            file,
            members=members,
            nonmembers=nonmembers,
            dense=dense,
            budget=parse_budget(budget) if budget else None,
            data_root=data_root,
            seed=seed,
            progress=progress,
        )
    show_evidence(evidence, json=json or format_ is Format.json, out=out)
    finish([evidence.verdict], strict=strict)
