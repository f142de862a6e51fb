"""`safedeploy verify`: every file of a bundle, checked in its real runtime."""

from pathlib import Path
from typing import Annotated

import typer

from safedeploy.cli import options as o


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder, as runs/NAME/bundle/TARGET.")],
    json: o.JsonOption = False,
) -> None:
    """Hashes, answers against the torch model, batches, extreme inputs, int8 saturation. Exit 1 when a check fails."""
    from safedeploy import pipeline
    from safedeploy.cli.progress import shown
    from safedeploy.cli.show import show_verification
    from safedeploy.export.verify_bundle import require_passed

    with shown() as progress:
        found = pipeline.verify(bundle, progress=progress)
    show_verification(found, json=json)
    require_passed(found)
