"""How many threads torch computes with: one for small networks, which more help little and can hurt much."""

import contextlib
from collections.abc import Iterator

# Parameters below which one thread costs at most half again on two quiet cores (benchmarks/README.md), and saves a
# multiple where other work wants the cores, since waiting threads spin.
SMALL = 1_000_000


def suitable(parameters: int) -> int:
    """Threads for a network of this size; the fixed 1 for small ones frees results from the machine's core count."""
    import torch

    return 1 if parameters < SMALL else torch.get_num_threads()


@contextlib.contextmanager
def limited(count: int) -> Iterator[None]:
    """torch computes with `count` threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def one_for_trees() -> Iterator[None]:
    """scikit-learn's boosted trees grow on one thread inside the block.

    They are small here: threads that wait for each other spin, and were measured to cost ten times the work.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        yield
