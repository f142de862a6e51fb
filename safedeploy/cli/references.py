"""`safedeploy references`: models like the audited one, trained on random halves, for the strongest attacks."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def references(
    run: Annotated[Path | None, typer.Argument(help="A run, as runs/NAME, with its bundle.")] = None,
    count: Annotated[int, typer.Option("--count", help="How many; 2 for a quick look, 16 to 64 for a release.")] = 64,
    views: Annotated[
        int | None,
        typer.Option("--views", help="Answers a sample, shifted and mirrored as in training; 1 if not augmented."),
    ] = None,
    target: o.TargetOption = None,
    files: Annotated[
        list[str] | None, typer.Option("--files", help="Exported files that answer, as model.int8.onnx; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Their folder; in the run by default.")] = None,
    no_control: Annotated[bool, typer.Option("--no-control", help="None for the run's dense control.")] = False,
    members: Annotated[
        Path | None, typer.Option("--members", help="Without a run: .npz with x, y that a model was trained on.")
    ] = None,
    nonmembers: Annotated[
        Path | None, typer.Option("--nonmembers", help="Without a run: .npz with x, y that it never saw.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", help="Without a run: the file they are to stand beside.")
    ] = None,
    model: o.ModelOption = None,
    epochs: o.EpochsOption = None,
    batch_size: o.BatchSizeOption = None,
    learning_rate: o.LearningRateOption = None,
    augment: o.AugmentOption = None,
    device: o.DeviceOption = None,
    seed: o.SeedOption = None,
    data_root: o.DataRootOption = None,
    json: o.JsonOption = False,
) -> None:
    """Train reference models on random halves of the samples; keep what their exported files answer."""
    from safedeploy.cli.interrupted import continued_by
    from safedeploy.cli.progress import shown
    from safedeploy.errors import UserError
    from safedeploy.references import make_references, make_references_of_files

    chosen = [name for item in files or [] for name in item.split(",") if name] or None
    strangers = {
        "like": like,
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augment": augment,
        "device": device,
        "seed": seed,
    }
    advice = "what was finished is kept; type the same command to continue it"
    if run is not None:
        _unless(
            f"is for samples without a run; {run} has its recipe", members=members, nonmembers=nonmembers, **strangers
        )
        with continued_by(lambda: advice), shown() as progress:
            folders = make_references(
                run,
                count,
                views=views,
                target=target,
                files=chosen,
                out=out,
                control=not no_control,
                data_root=data_root,
                progress=progress,
            )
    elif members is not None and nonmembers is not None and out is not None:
        _unless("is for a run; here are two files", data_root=data_root, no_control=no_control or None)
        with continued_by(lambda: advice), shown() as progress:
            folder = make_references_of_files(
                members,
                nonmembers,
                out,
                count,
                views=views,
                target=target,
                files=chosen,
                progress=progress,
                **strangers,  # type: ignore[arg-type]
            )
        folders = [folder]
    else:
        raise UserError("give a run, or --members M.npz --nonmembers N.npz --out DIR for a model from elsewhere")
    _show(folders, json=json)


def _unless(reason: str, **options: object) -> None:
    """Raises UserError where an option was given that the rest of the command has no use for."""
    from safedeploy.errors import UserError

    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} {reason}")


def _show(folders: list[Path], *, json: bool) -> None:
    from safedeploy.audit.reference_store import SET
    from safedeploy.cli.show import print_json, table
    from safedeploy.results import ReferenceSet

    made = {folder: ReferenceSet.read(folder / SET) for folder in folders}
    if json:
        print_json([{"folder": str(folder), **one.model_dump(by_alias=True)} for folder, one in made.items()])
        return
    rows = [
        [
            str(folder),
            f"{one.count}",
            f"{one.model}, {one.method}",
            f"{one.pool:,} × {one.views.count}",
            ", ".join(one.files),
        ]
        for folder, one in made.items()
    ]
    title = "reference models; each sample is in half of every pair"
    if any(one.count % 2 for one in made.values()):
        title += "; the last one has no partner: an even --count is balanced"
    table(title, ["folder", "count", "model", "samples × views", "answers of"], rows)
