"""`safedeploy audit`: how much an exported file tells about its training data."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from safedeploy.cli import options as o


class Format(StrEnum):
    md = "md"
    json = "json"
    html = "html"
    junit = "junit"
    sarif = "sarif"


def audit(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="The files that ship, .onnx or .pte; further ones are compared with the first."),
    ] = None,
    members: o.MembersOption = None,
    nonmembers: o.NonmembersOption = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Instead of a file: .npz with logits or probabilities, y, member."),
    ] = None,
    dense: Annotated[Path | None, typer.Option("--dense", help="The dense control's file of the same kind.")] = None,
    attacks: o.AttacksOption = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="Folder of 'safedeploy references'; the run's own by default.")
    ] = None,
    output: o.OutputOption = None,
    canaries: Annotated[
        bool, typer.Option("--canaries", help="Insist on the canaries that 'compress --canaries' trained with.")
    ] = False,
    budget: o.BudgetOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive verdict exits 3 too.")] = False,
    data_root: o.DataRootOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the attacker's draws; the run's by default.")] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="What to print: md by default.")] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", help="Write to this file instead; .md, .json, .html, .xml (JUnit), .sarif; repeatable."),
    ] = None,
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails", help="Put the most exposed training images on the page: it then holds data."),
    ] = False,
    json: o.JsonOption = False,
) -> None:
    """Attack exported files with membership inference, beside their controls; exit 3 when a budget is exceeded."""
    from safedeploy import pipeline
    from safedeploy.audit.budget import parse_budget
    from safedeploy.cli.outcome import finish
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_audits
    from safedeploy.errors import UserError
    from safedeploy.report.formats import form_of
    from safedeploy.rundir import require_writable

    for place in out or []:
        require_writable(place)
    places: dict[Path | None, str] = {place: format_.value if format_ else form_of(place) for place in out or []}
    asked: dict[str, Any] = {
        "budget": parse_budget(budget) if budget else None,
        "attacks": o.names(attacks),
    }
    given: dict[str, Any] = {
        "members": members,
        "nonmembers": nonmembers,
        "dense": dense,
        "references": references,
        "output": output,
    }
    with shown() as progress:
        if scores is not None:
            unasked = {**given, "canaries": canaries or None, "data-root": data_root}
            needless = [*map(str, files or []), *(f"--{name}" for name, value in unasked.items() if value is not None)]
            if needless:
                raise UserError(f"--scores holds all that is judged: leave out {', '.join(needless)}")
            found = pipeline.audit_scores(scores, seed=seed, progress=progress, **asked)
        elif files:
            found = pipeline.audit_files(
                files, **given, **asked, canaries=canaries, data_root=data_root, seed=seed, progress=progress
            )
        else:
            raise UserError("give a model file (.onnx or .pte) or --scores FILE; see 'safedeploy audit --help'")
    if json or not places:
        places[None] = "json" if json else (format_ or Format.md).value
    show_audits(found, places, thumbnails=thumbnails)
    finish([evidence.verdict for evidence in found.evidence], strict=strict)
