"""`safedeploy compress`: train one model, sparse and safety-tested, or a baseline."""

from pathlib import Path
from typing import Annotated, Any

import typer

from safedeploy.cli import options as o


def compress(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe (TOML); options override it.")] = None,
    data: o.DataOption = None,
    data_root: o.DataRootOption = None,
    label: o.LabelOption = None,
    sensitive: o.SensitiveOption = None,
    text: o.TextOption = None,
    length: o.LengthOption = None,
    model: o.ModelOption = None,
    init: o.InitOption = None,
    method: o.MethodOption = None,
    defence: o.DefenceOption = None,
    quantise: o.QuantiseOption = None,
    density: o.DensityOption = None,
    structure: o.StructureOption = None,
    attacker: o.AttackerOption = None,
    min_max: o.MinMaxOption = None,
    epochs: o.EpochsOption = None,
    batch_size: o.BatchSizeOption = None,
    learning_rate: o.LearningRateOption = None,
    augment: o.AugmentOption = None,
    device: o.DeviceOption = None,
    seed: o.SeedOption = None,
    name: o.NameOption = None,
    target: o.TargetOption = None,
    option: o.MethodOptionsOption = None,
    canaries: Annotated[
        int | None, typer.Option("--canaries", help="Examples that fair coins put into training, to be audited by.")
    ] = None,
    runs: o.RunsOption = Path("runs"),
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this run where it was cut off.")] = None,
    help_method: Annotated[
        bool, typer.Option("--help-method", help="Print what --method and each --defence are and take, and stop.")
    ] = False,
    json: o.JsonOption = False,
) -> None:
    """Train a model; leaves weights, split, metrics and summary in runs/NAME."""
    from safedeploy import pipeline
    from safedeploy.cli.interrupted import continued_by
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_summary
    from safedeploy.compose import make_recipe
    from safedeploy.errors import UserError

    if help_method:
        _explain(recipe, method, o.names(defence), json=json)
        return
    typed: dict[str, Any] = {
        "data": data,
        "data_root": data_root,
        "label": label,
        "sensitive": sensitive,
        "text": text,
        "length": length,
        "model": model,
        "init": init,
        "method": method,
        "defences": o.names(defence),
        "quantise": quantise,
        "density": density,
        "structure": structure,
        "attacker": attacker,
        "min_max": min_max,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augment": augment,
        "device": device,
        "seed": seed,
        "name": name,
        "target": target,
        "options": o.method_options(option),
        "canaries": canaries,
    }
    if resume is not None:
        if recipe or any(value is not None for value in typed.values()):
            raise UserError(f"--resume {resume} takes the recipe in that run: leave out the other recipe and options")
        with continued_by(lambda: _advice(resume)), shown() as progress:
            made = pipeline.resume(resume, progress=progress)
    else:
        resolved = make_recipe(recipe, **typed)
        with continued_by(lambda: _advice(runs / resolved.name)), shown() as progress:
            made = pipeline.compress(resolved, runs, progress=progress)
    show_summary(made, json=json)


def _advice(run: Path) -> str:
    from safedeploy.rundir import RunDir

    if RunDir(run).recipe.exists():
        return f"continue with: safedeploy compress --resume {run}"
    return "nothing was written; type the same command to start again"


def _explain(recipe: Path | None, method: str | None, defences: list[str] | None, *, json: bool) -> None:
    """The method and the defences that are named, else those of the recipe."""
    from safedeploy.cli.show_method import show_parts
    from safedeploy.compose import make_recipe
    from safedeploy.compression import need_torch

    need_torch("--help-method")
    from safedeploy.methods.help import parts_help

    asked = make_recipe(recipe, method=method, defences=defences).method
    show_parts(parts_help(asked.name, list(asked.defences)), json=json)
