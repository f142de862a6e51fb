"""Files timed in alternating turns on one device, until all have enough or the device fails."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.bench.cooldown import rest
from safedeploy.bench.devices.base import Device
from safedeploy.bench.session import Session, opened
from safedeploy.errors import UserError
from safedeploy.results import Timing
from safedeploy.results.timing import DeviceState

Progress = Callable[[float], None]
SEED = 0


@dataclass(frozen=True)
class Rules:
    """A file is timed until it has both `queries` and `seconds` inside queries; turns of `block_seconds` alternate."""

    queries: int
    seconds: float
    block_seconds: float = 0.5


@dataclass(frozen=True, eq=False)
class Measurement:
    """`loaded`: the runner's answer to 'load'. `blocks`: latencies in nanoseconds, an array a block. Else: Timing's."""

    loaded: dict[str, Any]
    blocks: list[NDArray[np.int64]]
    peak_memory_bytes: int
    device: str = "local"
    complete: bool = True
    before: DeviceState | None = None
    after: DeviceState | None = None
    cooldown_seconds: float = 0.0

    @property
    def latencies(self) -> NDArray[np.int64]:
        return np.concatenate(self.blocks)


class UnfinishedError(UserError):
    """The device failed under way. `measured`, and the results made of it: the files that had a turn, in order."""

    def __init__(self, message: str, measured: list[Measurement]) -> None:
        super().__init__(message)
        self.measured = measured
        self.timings: list[Timing] = []


@dataclass(eq=False)
class Turns:
    """One file under way. `waited`: seconds, for the device to cool down."""

    session: Session
    loaded: dict[str, Any]
    blocks: list[NDArray[np.int64]] = field(default_factory=list)
    peak_memory_bytes: int = 0
    waited: float = 0.0

    def take(self, seconds: float) -> None:
        block = self.session.ask("block", seconds=seconds)["latencies_ns"]
        self.peak_memory_bytes = self.session.ask("memory")["peak_memory_bytes"]
        self.blocks.append(np.array(block, dtype=np.int64))


def measure(
    paths: Sequence[Path],
    rules: Rules,
    *,
    threads: int,
    device: Device,
    cooldown: float = 0.0,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Time `paths` by `rules`: a runner each, one busy at a time, in turns A B C A B C … until all have enough.

    cooldown: how many seconds a file may wait in all, before its turns, for the device to be as cool as at first.
    Raises UnfinishedError where the device fails once turns have been taken.
    """
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(device.opened())
        before, after = connection.state(), None
        files: list[Turns] = []

        def measured() -> list[Measurement]:
            return [
                Measurement(
                    {**one.loaded, "machine": {**one.loaded["machine"], **connection.facts}},
                    one.blocks,
                    one.peak_memory_bytes,
                    connection.name,
                    share_done(one.blocks, rules) >= 1,
                    before,
                    after,
                    one.waited,
                )
                for one in files
                if one.blocks
            ]

        try:
            for path in paths:  # one after another: the peak of one load must not slow the next
                session = stack.enter_context(opened(Path(path), connection))
                files.append(Turns(session, session.load(threads, SEED)))
            while (done := min(share_done(one.blocks, rules) for one in files)) < 1:
                if progress:
                    progress(done)
                for one in files:
                    one.waited += rest(connection, before, cooldown - one.waited)
                    one.take(rules.block_seconds)
            after = connection.state()
        except UserError as error:
            if kept := measured():
                told = f"kept, marked incomplete: what was measured of {len(kept)} of {len(paths)} files"
                raise UnfinishedError(f"{error}; {told}", kept) from None
            raise
    if progress:
        progress(1.0)
    return measured()


def share_done(blocks: Sequence[NDArray[np.int64]], rules: Rules) -> float:
    """How much of `rules` the blocks have met, 0 to 1."""
    queries = sum(block.size for block in blocks)
    seconds = sum(float(block.sum()) for block in blocks) / 1e9
    return min(queries / rules.queries, seconds / rules.seconds, 1.0)
