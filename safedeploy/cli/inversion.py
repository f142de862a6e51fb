"""`safedeploy inversion`: what a file's classes look like to one who has only the file."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def inversion(
    file: o.FileArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the rebuilt inputs: .npz, .json, .png for images.")],
    members: o.MembersOption = None,
    nonmembers: o.NonmembersOption = None,
    output: o.OutputOption = None,
    data_root: o.DataRootOption = None,
    seed: o.SeedOption = None,
    json: o.JsonOption = False,
) -> None:
    """Rebuild a typical input of every class from the file, and judge whether it resembles the class or its members."""
    from safedeploy import pipeline
    from safedeploy.cli.progress import shown
    from safedeploy.report.inference import inversion_markdown

    samples = {"members": members, "nonmembers": nonmembers, "output": output, "data_root": data_root, "seed": seed}
    with shown() as progress:
        found = pipeline.inversion(file, out, progress=progress, **samples)
    print(found.model_dump_json(indent=2) if json else inversion_markdown(found))
