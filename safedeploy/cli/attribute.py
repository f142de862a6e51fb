"""`safedeploy attribute`: what a file tells of a column of a table to one who knows the others."""

from typing import Annotated

import typer

from safedeploy.cli import options as o


def attribute(
    file: o.FileArgument,
    sensitive: Annotated[
        str | None,
        typer.Option("--sensitive", help="The hidden column: 12, 3,7, 4-9, or its name; by default what was withheld."),
    ] = None,
    members: o.MembersOption = None,
    nonmembers: o.NonmembersOption = None,
    output: o.OutputOption = None,
    data_root: o.DataRootOption = None,
    seed: o.SeedOption = None,
    json: o.JsonOption = False,
) -> None:
    """Infer a hidden column of members from the others, the label and the file, beside guessing without the file."""
    from safedeploy import pipeline
    from safedeploy.cli.progress import shown
    from safedeploy.report.inference import attribute_markdown

    samples = {"members": members, "nonmembers": nonmembers, "output": output, "data_root": data_root, "seed": seed}
    with shown() as progress:
        found = pipeline.attribute(file, sensitive, progress=progress, **samples)
    print(found.model_dump_json(indent=2) if json else attribute_markdown(found))
