"""Exit codes of verdicts."""

from collections.abc import Sequence

import typer

from safedeploy.results import Verdict

BUDGET_EXCEEDED = 3


def finish(verdicts: Sequence[Verdict], *, strict: bool = False) -> None:
    """Exit with 3 where a budget was exceeded, or with `strict` where a verdict is inconclusive."""
    bad = {"fail", "inconclusive"} if strict else {"fail"}
    if any(verdict.outcome in bad for verdict in verdicts):
        raise typer.Exit(BUDGET_EXCEEDED)
