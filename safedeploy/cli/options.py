"""Options that commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

DataOption = Annotated[
    str | None, typer.Option("--data", help="Built-in data set, image folder, .npz, .csv or .parquet.")
]
DataRootOption = Annotated[str | None, typer.Option("--data-root", help="Folder with the built-in data sets' files.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="The label's column, for tables.")]
SensitiveOption = Annotated[
    str | None, typer.Option("--sensitive", help="A column that the model does not see, and attackers are to infer.")
]
TextOption = Annotated[
    str | None, typer.Option("--text", help="The column of texts of a table; several with commas are joined.")
]
LengthOption = Annotated[int | None, typer.Option("--length", help="Tokens of a text that the model sees: 64.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Zoo name, hf:NAME-or-folder, package.module:factory or file.py:factory.")
]
MethodOption = Annotated[
    str | None, typer.Option("--method", help="See docs/methods.md; --help-method tells one's options.")
]
DensityOption = Annotated[float | None, typer.Option("--density", help="Share of weights kept, 0 to 1.")]
StructureOption = Annotated[
    str | None,
    typer.Option("--structure", help="irregular, channel, filter, column, kernel, pattern, block:RxC or N:M as 2:4."),
]
DefenceOption = Annotated[
    list[str] | None, typer.Option("--defence", help="A term added to the method: see docs/methods.md; repeatable.")
]
QuantiseOption = Annotated[
    str | None, typer.Option("--quantise", help="Train on rounded weights at last: int8, or palette4 to palette8.")
]
InitOption = Annotated[
    str | None, typer.Option("--init", help="Trained weights to begin with: .safetensors, hf:NAME or torchvision:NAME.")
]
MinMaxOption = Annotated[bool | None, typer.Option("--min-max", help="mcmia: play the game against attackers too.")]
AttackerOption = Annotated[
    str | None, typer.Option("--attacker", help="safecompress, mcmia --min-max: simulate black, white or both.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the members.")]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size")]
LearningRateOption = Annotated[float | None, typer.Option("--learning-rate")]
AugmentOption = Annotated[
    str | None, typer.Option("--augment", help="Of training images, anew at every step: crop, flip, crop-flip or none.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.")]
SeedOption = Annotated[int | None, typer.Option("--seed")]
NameOption = Annotated[str | None, typer.Option("--name", help="The run's folder under --runs.")]
TargetOption = Annotated[str | None, typer.Option("--target", help="Deployment target: see 'safedeploy targets'.")]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
BudgetOption = Annotated[list[str] | None, typer.Option("--budget", help="auc=0.60 or tpr@0.001=0.01; repeatable.")]
MethodOptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="The method's, as interval=200, or a defence's, as relaxloss.alpha=0.8; repeatable."),
]
FileArgument = Annotated[Path, typer.Argument(help="The file that ships: .onnx or .pte, recognised by content.")]
MembersOption = Annotated[Path | None, typer.Option("--members", help=".npz with x, y: samples it was trained on.")]
NonmembersOption = Annotated[Path | None, typer.Option("--nonmembers", help=".npz with x, y: samples it never saw.")]
OutputOption = Annotated[
    str | None, typer.Option("--output", help="The ONNX output that answers, where a file has several.")
]
AttacksOption = Annotated[
    list[str] | None, typer.Option("--attacks", help="standard, all, or names; commas or repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def names(items: list[str] | None) -> list[str] | None:
    """Names from options that are repeated, hold commas, or both."""
    return [name for item in items for part in item.split(",") if (name := part.strip())] if items else None


def method_options(items: list[str] | None) -> dict[str, Any] | None:
    """'KEY=VALUE' items as values; a comma makes a list, after one item too."""
    from safedeploy.errors import UserError

    options: dict[str, Any] = {}
    for item in items or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--option {item}: write KEY=VALUE, as in interval=200")
        options[key.strip()] = [part for part in value.split(",") if part] if "," in value else value
    return options or None
