"""`safedeploy run`: the whole road, on embedded data when no recipe is given."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def run(
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
    budget: o.BudgetOption = None,
    attacks: o.AttacksOption = None,
    references: Annotated[
        int | None, typer.Option("--references", help="Reference models to make for the audit: 2 for CI, 16 or more.")
    ] = None,
    runs: o.RunsOption = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over, even if the run exists.")] = False,
    json: o.JsonOption = False,
) -> None:
    """Train a dense control and a small private model, export, audit, time and report both."""
    from safedeploy import pipeline
    from safedeploy.audit.budget import parse_budget
    from safedeploy.cli.interrupted import continued_by
    from safedeploy.cli.outcome import finish
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_run
    from safedeploy.compose import make_recipe
    from safedeploy.export.sizes import require_within
    from safedeploy.report.contents import read_run

    resolved = make_recipe(
        recipe,
        data=data,
        data_root=data_root,
        label=label,
        sensitive=sensitive,
        text=text,
        length=length,
        model=model,
        init=init,
        method=method,
        defences=o.names(defence),
        quantise=quantise,
        density=density,
        structure=structure,
        attacker=attacker,
        min_max=min_max,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augment=augment,
        device=device,
        seed=seed,
        name=name,
        target=target,
        options=o.method_options(option),
        budget=parse_budget(budget or []),
        attacks=o.names(attacks),
        references=references,
    )
    advice = f"what was finished is kept; type the same command{' without --fresh' if fresh else ''} to continue it"
    with continued_by(lambda: advice), shown() as progress:
        made = pipeline.run(resolved, runs, fresh=fresh, progress=progress)
    verdicts = show_run(made, json=json)
    if (shipped := read_run(made).shipped.manifest) is not None:
        require_within(shipped)
    finish(verdicts)
