"""How `compress --help-method` prints what a method and its defences are, and every option they take."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from safedeploy.cli import show

if TYPE_CHECKING:
    from safedeploy.methods.help import PartHelp

COLUMNS = ["--option", "type", "allowed", "default", "meaning"]


def show_parts(parts: "Sequence[PartHelp]", *, json: bool) -> None:
    if json:
        show.print_json([asdict(part) for part in parts])
        return
    for part in parts:
        if not part.options:
            print(f"{part.typed}: {part.about}\nIt takes no options.")
            continue
        rows = [[one.name, one.type, one.allowed, one.default, one.meaning] for one in part.options]
        show.table(f"{part.typed}: {part.about}", COLUMNS, rows)
