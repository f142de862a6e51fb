"""The size budget of a bundle's files."""

from safedeploy.errors import UserError
from safedeploy.results import Manifest


class OverBudget(UserError):  # noqa: N818
    """A file weighs more than its target allows; the bundle stays."""

    exit_code = 3


def over_budget(manifest: Manifest) -> list[str]:
    """What each file that is too large weighs, and what it may."""
    limits = (
        ("on disk", "size_bytes", manifest.budget.disk_bytes),
        ("to download (zip, level 9)", "zip_bytes", manifest.budget.download_bytes),
    )
    return [
        f"{file.name} is {getattr(file, field):,} bytes {where}, over the {limit:,} of target '{manifest.target}'"
        for file in manifest.files
        for where, field, limit in limits
        if limit is not None and getattr(file, field) > limit
    ]


def require_within(manifest: Manifest) -> None:
    """Raises OverBudget that names the first file over the target's size budget and how many more there are."""
    if over := over_budget(manifest):
        more = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
        raise OverBudget(f"{over[0]}{more}; the bundle is kept: prune more, or give a target of your own")
