"""Progress on standard error: which stage, how far, how long still; plain lines where it is not a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from time import monotonic

from safedeploy.pipeline import Progress

TELLING = 0.01  # of a stage, before which its pace says nothing about the rest: what comes first is of another kind


@contextlib.contextmanager
def shown() -> Iterator[Progress]:
    """A Progress for the pipeline, live until the block ends."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:

        def stage(name: str) -> Callable[[float], None]:
            task = bars.add_task(name, total=1.0)
            return lambda fraction: bars.update(task, completed=fraction)

        yield stage


def _lines(name: str) -> Callable[[float], None]:
    """A line when a stage is under way, every ten seconds, and when it is done; none where bad input ends it."""
    started = told = monotonic()
    announced = ended = False

    def tell(fraction: float) -> None:
        nonlocal told, announced, ended
        now = monotonic()
        if not announced:
            announced = True
            print(f"{name} …", file=sys.stderr, flush=True)
        if ended:
            return
        if fraction >= 1:
            ended = True
            print(f"{name}: done in {now - started:.0f} s", file=sys.stderr, flush=True)
        elif now - told > 10 and fraction > 0:
            told = now
            left = (now - started) * (1 - fraction) / fraction
            guess = f", about {left:.0f} s left" if fraction >= TELLING else ""
            print(f"{name}: {fraction:.0%}{guess}", file=sys.stderr, flush=True)

    return tell
