"""`safedeploy plan`: what a sparsity will buy on a target's runtimes, before anybody trains."""

from typing import Annotated

import typer

from safedeploy.cli import options as o


def plan(
    model: Annotated[str, typer.Option("--model", help="Zoo name, package.module:factory or file.py:factory.")],
    target: o.TargetOption = None,
    density: Annotated[float, typer.Option("--density", help="Share of weights kept, 0 to 1.")] = 0.1,
    structure: Annotated[str, typer.Option("--structure", help="irregular (zeros anywhere) or channel.")] = "irregular",
    input_shape: Annotated[str, typer.Option("--input", help="One input: 3x32x32, or 446 columns.")] = "3x32x32",
    classes: Annotated[int, typer.Option("--classes", min=2)] = 10,
    values: Annotated[str | None, typer.Option("--values", help="float32 or int8 files only.")] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Build it with random weights, measure it here; exit 1 if a claim is refuted."),
    ] = False,
    layers: Annotated[bool, typer.Option("--layers", help="A row a layer, not one a kind of layer.")] = False,
    json: o.JsonOption = False,
) -> None:
    """Per runtime and layer: what this sparsity buys in disk, download, memory and time, and what it cannot."""
    from safedeploy.cli.progress import shown
    from safedeploy.pipeline import plan as make_plan
    from safedeploy.plan.text import plan_text

    with shown() as progress:
        made = make_plan(
            model,
            target or "android",
            density=density,
            structure=structure,
            input_shape=input_shape,
            classes=classes,
            values=values,
            verify=verify,
            progress=progress,
        )
    print(made.model_dump_json(indent=2) if json else plan_text(made, layers=layers))
    if any(not check.agrees for check in made.checks or ()):
        raise typer.Exit(1)
